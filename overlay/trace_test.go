package overlay

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// versionText gives a Version as one line: layer, deed and what goes with it.
func versionText(v Version) string {
	s := fmt.Sprintf("%d %v", v.Layer, v.Did)
	for _, part := range []struct {
		is   bool
		text string
	}{
		{v.By != "", " by " + v.By},
		{v.Implied, " implied"},
		{v.Link != "", " link " + v.Link},
		{v.Target != "", " -> " + v.Target},
		{v.Mode&unix.S_IFMT == unix.S_IFREG, fmt.Sprintf(" %dB", v.Size)},
		{v.Shown, " shown"},
		{v.Wasted != 0, fmt.Sprintf(" wasted %d", v.Wasted)},
	} {
		if part.is {
			s += part.text
		}
	}
	return s
}

func TestTrace(t *testing.T) {
	for _, tt := range []struct {
		about  string
		layers []layer
		path   string
		want   []string
	}{
		{"in one layer, and no other has a say",
			[]layer{{file("a", 1)}, {file("b", 2)}}, "a",
			[]string{"0 added 1B shown"}},
		{"changed twice",
			[]layer{{file("a", 1)}, {file("a", 2)}, {file("a", 3)}}, "a",
			[]string{"0 added 1B wasted 1", "1 changed 2B wasted 2", "2 changed 3B shown"}},
		{"deleted and added again",
			[]layer{{file("a", 1)}, {whiteout("a")}, {file("a", 3)}}, "a",
			[]string{"0 added 1B wasted 1", "1 deleted", "2 added 3B shown"}},
		{"a whiteout of nothing does nothing",
			[]layer{{whiteout("a")}, {file("a", 1)}}, "a",
			[]string{"1 added 1B shown"}},
		{"whiteout and file in one layer, in either order",
			[]layer{{file("a", 1)}, {file("a", 2), whiteout("a")}}, "a",
			[]string{"0 added 1B wasted 1", "1 changed 2B shown"}},
		{"its directory is deleted",
			[]layer{{file("d/e/a", 1)}, {whiteout("d")}}, "d/e/a",
			[]string{"0 added 1B wasted 1", "1 hidden by d"}},
		{"its directory is made opaque",
			[]layer{{file("d/a", 1)}, {opaque("d"), file("d/b", 2)}}, "d/a",
			[]string{"0 added 1B wasted 1", "1 hidden by d"}},
		{"its directory is made opaque, the layer has it again",
			[]layer{{file("d/a", 1)}, {opaque("d"), file("d/a", 2)}}, "d/a",
			[]string{"0 added 1B wasted 1", "1 changed 2B shown"}},
		{"its directory becomes a file",
			[]layer{{file("d/a", 1)}, {file("d", 5)}}, "d/a",
			[]string{"0 added 1B wasted 1", "1 hidden by d"}},
		{"its directory becomes a symlink",
			[]layer{{file("d/a", 1)}, {dir("e", 0o755), symlink("d", "e")}}, "d/a",
			[]string{"0 added 1B wasted 1", "1 hidden by d"}},
		{"a file that becomes a directory because something lies below it",
			[]layer{{file("a", 1)}, {file("a/b", 2)}}, "a",
			[]string{"0 added 1B wasted 1", "1 changed implied shown"}},
		{"directories that only paths speak of",
			[]layer{{file("a/a/b", 1)}, {file("a/a/c", 1)}}, "a/a",
			[]string{"0 added implied shown"}},
		{"a directory whose metadata is new",
			[]layer{{dir("d", 0o755)}, {dir("d", 0o700)}}, "d",
			[]string{"0 added", "1 changed shown"}},
		{"opaque",
			[]layer{{file("d/a", 1)}, {opaque("d")}}, "d",
			[]string{"0 added implied", "1 made opaque shown"}},
		{"deleted and made anew in one layer is opaque in other words",
			[]layer{{file("d/a", 1)}, {whiteout("d"), dir("d", 0o700)}}, "d",
			[]string{"0 added implied", "1 made opaque shown"}},
		{"symlink",
			[]layer{{file("a", 1)}, {symlink("a", "b")}}, "a",
			[]string{"0 added 1B wasted 1", "1 changed -> b shown"}},
		{"hard link to a lower layer: its bytes are not wasted when the first name goes",
			[]layer{{file("a", 7)}, {link("b", "a")}, {whiteout("a")}}, "a",
			[]string{"0 added 7B", "2 deleted"}},
		{"the link itself",
			[]layer{{file("a", 7)}, {link("b", "a")}, {whiteout("a")}}, "b",
			[]string{"1 added link a 7B shown"}},
		{"a link that comes before its target",
			[]layer{{link("b", "a"), file("a", 7)}}, "b",
			[]string{"0 added link a 7B shown"}},
		{"an entry that leads through a symlink of its own layer",
			[]layer{{dir("usr/lib", 0o755), symlink("lib", "usr/lib"), file("lib/x", 3)}}, "usr/lib/x",
			[]string{"0 added 3B shown"}},
		{"the same path twice in a layer: the last counts",
			[]layer{{file("a", 1), file("a", 2)}}, "a",
			[]string{"0 added 2B shown"}},
		{"the root",
			[]layer{{file("a", 1)}, {dir("", 0o700)}}, "",
			[]string{"1 changed shown"}},
		{"in no layer",
			[]layer{{file("a", 1)}}, "b", nil},
	} {
		var sources []LayerSource
		for _, l := range tt.layers {
			sources = append(sources, l)
		}
		all, err := Trace(sources, []string{tt.path})
		if err != nil {
			t.Errorf("%s: Trace(%q): %v", tt.about, tt.path, err)
			continue
		}
		var got []string
		for _, v := range all[0] {
			got = append(got, versionText(v))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: Trace(%q) (-want +got):\n%s", tt.about, tt.path, diff)
		}
	}
}

// What is traced of all paths together must be what Merge makes of the layers.
func TestTraceAgreesWithMerge(t *testing.T) {
	layers := []layer{
		{dir("a", 0o755), file("a/x", 1), file("a/y", 2), file("b", 3), symlink("s", "a"), link("a/z", "b")},
		{whiteout("a/x"), file("b", 4), dir("c", 0o700), file("c/x", 5), file("a/new/deep", 6)},
		{opaque("a"), file("a/y", 7), link("c/y", "c/x"), whiteout("s"), dir("s", 0o711)},
	}
	paths := []string{"a", "a/x", "a/y", "a/z", "a/new", "a/new/deep", "b", "c", "c/x", "c/y", "s"}
	var sources []LayerSource
	for _, l := range layers {
		sources = append(sources, l)
	}
	all, err := Trace(sources, paths)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := merge(t, layers...)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range paths {
		last := all[i][len(all[i])-1]
		a, err := tree.Lstat(path)
		if (err == nil) != last.Shown {
			t.Errorf("Trace(%q) ends in %q; in the tree: %v", path, versionText(last), err)
			continue
		}
		if err == nil && (a.Mode != last.Mode || a.Mode&unix.S_IFMT == unix.S_IFREG && a.Size != last.Size) {
			t.Errorf("Trace(%q) ends in %q, mode %o; in the tree: mode %o, %d bytes", path, versionText(last), last.Mode, a.Mode, a.Size)
		}
	}
}

func TestTruePath(t *testing.T) {
	tree, err := merge(t, layer{
		file("usr/lib/x", 1), symlink("lib", "usr/lib"), symlink("abs", "/usr"), symlink("loop", "loop"),
		toc.Entry{Path: "usr/lib/y", Type: toc.Symlink, Link: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{"/lib/x", "usr/lib/x"},
		{"lib//x/", "usr/lib/x"},
		{"abs/lib/y", "usr/lib/y"}, // the last is not followed
		{"abs/lib/gone", "usr/lib/gone"},
		{"/lib/..", "usr"},
		{"lib", "lib"},
		{"/", ""},
		{"", ""},
		{".", ""},
		{"gone/./x", "gone/x"},
		{"gone/../x", "x"},
		{"usr/lib/x/below", "usr/lib/x/below"},
		{"loop/x", "loop/x"},
	} {
		if got, err := tree.TruePath(tt.path); got != tt.want || err != nil {
			t.Errorf("TruePath(%q) = %q, %v; want %q", tt.path, got, err, tt.want)
		}
	}
}
