package change

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

// below is the image of the tests.
var below = []*toc.Entry{
	dir(""), dir("d"), plain("d/a"), plain("d/b"), dir("d/sub"), plain("d/sub/x"),
	dir("e"), plain("e/one"), link("e/two", "e/one"), plain("f"), dir("g"), link("g/three", "e/one"),
}

func TestWalk(t *testing.T) {
	for _, tt := range []struct {
		about string
		do    func(u *upper)
		want  string
	}{
		{"nothing", func(u *upper) {}, ""},
		{"copied up and as before", func(u *upper) { u.copyUp(dir("d"), plain("d/a"), plain("f")) }, ""},
		{"of a file, the mode", func(u *upper) {
			u.copyUp(dir("d"), plain("d/a"))
			u.must(os.Chmod(u.path("d/a"), 0o600))
		}, "M /d\nM /d/a mode"},
		{"contents alone", func(u *upper) {
			u.copyUp(plain("f"))
			u.must(os.WriteFile(u.path("f"), []byte("F"), 0o644))
			u.like("f", plain("f"))
		}, "M /f content"},
		{"deleted", func(u *upper) {
			u.copyUp(dir("d"))
			u.whiteout("d/a")
			u.whiteout("d/never") // nothing
			u.like("d", dir("d"))
			u.whiteout("e")
		}, "M /d\nD /d/a\nD /e"},
		{"new, with all that is in it", func(u *upper) {
			u.copyUp(dir("n"), plain("n/a"), dir("n/sub"), plain("n/sub/b"))
		}, "A /n\nA /n/a\nA /n/sub\nA /n/sub/b"},
		{"opaque: what is there again is no change", func(u *upper) {
			u.copyUp(dir("d"), plain("d/b"), plain("d/new"))
			u.set("d", "opaque", "y")
		}, "M /d\nD /d/a\nA /d/new\nD /d/sub"},
		{"moved directory, and another in its place", func(u *upper) {
			u.copyUp(dir("moved"), dir("d"))
			u.set("moved", "redirect", "/d")
			u.set("d", "opaque", "y")
			u.whiteout("moved/b")
			u.like("moved", dir("d"))
		}, "M /d\nD /d/a\nD /d/b\nD /d/sub\nA /moved\nA /moved/a\nA /moved/sub\nA /moved/sub/x"},
		{"moved, and nothing left", func(u *upper) {
			u.copyUp(dir("moved"))
			u.set("moved", "redirect", "/d/sub")
			u.copyUp(dir("d"))
			u.whiteout("d/sub")
			u.like("d", dir("d"))
		}, "M /d\nD /d/sub\nA /moved\nA /moved/x"},
		{"file in place of a directory, and the other way round", func(u *upper) {
			u.copyUp(plain("d"), dir("f"), plain("f/in"))
		}, "M /d type\nM /f type\nA /f/in"},
		{"link to a file of the image: both names are told", func(u *upper) {
			u.copyUp(plain("f"))
			u.must(os.Link(u.path("f"), u.path("g2")))
		}, "M /f\nA /g2 = /f"},
		{"links of the image, copied up together and as before", func(u *upper) {
			u.copyUp(dir("e"), dir("g"), plain("e/one"))
			u.must(os.Link(u.path("e/one"), u.path("e/two")))
			u.must(os.Link(u.path("e/one"), u.path("g/three")))
			u.must(os.WriteFile(u.path("e/one"), []byte("e/one"), 0o644))
			for _, e := range []*toc.Entry{plain("e/one"), dir("e"), dir("g")} {
				u.like(e.Path, e)
			}
		}, ""},
		{"links of the image, changed by one name", func(u *upper) {
			u.copyUp(dir("e"), dir("g"), plain("e/one"))
			u.must(os.Link(u.path("e/one"), u.path("e/two")))
			u.must(os.Link(u.path("e/one"), u.path("g/three")))
			u.must(os.Chmod(u.path("e/two"), 0o600))
			u.like("e", dir("e"))
			u.like("g", dir("g"))
		}, "M /e\nM /g\nM /e/one mode\nM /e/two mode = /e/one\nM /g/three mode = /e/one"},
		{"a link broken by who copied one name up", func(u *upper) {
			u.copyUp(dir("e"), plain("e/one"))
			u.like("e", dir("e"))
		}, "M /e\nM /e/one"},
		{"a name of a link deleted", func(u *upper) {
			u.copyUp(dir("g"))
			u.whiteout("g/three")
			u.like("g", dir("g"))
		}, "M /g\nD /g/three"},
		{"a directory with one name of a link moved", func(u *upper) {
			u.copyUp(dir("moved"))
			u.set("moved", "redirect", "g")
			u.whiteout("g")
		}, "D /g\nA /moved\nM /e\nM /e/one\nM /e/two = /e/one\nA /moved/three = /e/one"},
		{"a user's files that look like marks", func(u *upper) {
			u.copyUp(plain(".wh.f"))
			u.must(os.Truncate(u.path(".wh.f"), 0))
		}, "A /.wh.f"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			u := newUpper(t)
			tt.do(u)
			u.like("", dir(""))
			image := imageOf(t, tarOf(t, below...))
			tr := u.open(image)
			if got := changes(t, tr); got != tt.want {
				t.Fatalf("changes:\n%s\nwant:\n%s", got, tt.want)
			}
			var b bytes.Buffer
			_, err := tr.WriteLayer(t.Context(), &b, LayerOptions{})
			if err != nil {
				if !errors.As(err, new(*NameError)) || !strings.Contains(tt.want, ".wh.") {
					t.Fatal(err)
				}
				return
			}
			again := imageOf(t, tarOf(t, below...), b.Bytes())
			if got, want := treeOf(t, again), treeOf(t, tr.union); got != want {
				t.Errorf("with the layer:\n%s\nthe union is:\n%s", got, want)
			}
		})
	}
}

// treeOf lists what programs see of a tree; names of one file by the first of them.
func treeOf(t *testing.T, tree overlay.Lower) string {
	t.Helper()
	first := map[overlay.NodeID]string{}
	var lines []string
	var walk func(path string, id overlay.NodeID)
	walk = func(path string, id overlay.NodeID) {
		children, err := list(tree, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range children {
			at := path + "/" + c.name
			f, err := file(tree, c.name, c.attr)
			if err != nil {
				t.Fatal(err)
			}
			if first[c.attr.ID] == "" {
				first[c.attr.ID] = at
			}
			line := at + " " + first[c.attr.ID]
			f.Ref, f.Name = nil, ""
			if f.Mode&unix.S_IFMT == unix.S_IFREG {
				b := make([]byte, f.Size)
				if _, err := tree.ReadAt(t.Context(), c.attr.ID, b, 0); err != nil {
					t.Fatal(err)
				}
				line += " " + string(b)
			}
			if f.Mode&unix.S_IFMT == unix.S_IFDIR {
				walk(at, c.attr.ID)
			}
			lines = append(lines, line+" "+string(rune(f.Mode))+f.Mtime.Time().String())
		}
	}
	walk("", overlay.Root)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestLayerTimes: no time is after the one given.
func TestLayerTimes(t *testing.T) {
	u := newUpper(t)
	u.copyUp(plain("new"))
	u.must(os.WriteFile(u.path("newer"), nil, 0o644))
	tr := u.open(imageOf(t, tarOf(t, below...)))
	var one bytes.Buffer
	limit := time.Unix(then.Sec, 0)
	if _, err := tr.WriteLayer(t.Context(), &one, LayerOptions{NotAfter: &limit}); err != nil {
		t.Fatal(err)
	}
	v := imageOf(t, one.Bytes())
	for _, name := range []string{"new", "newer"} {
		a, err := v.Stat(name)
		if err != nil || a.Mtime != (toc.Time{Sec: then.Sec}) {
			t.Errorf("%s: %v, %v; want %v", name, a.Mtime, err, limit)
		}
	}
}
