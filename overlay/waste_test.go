package overlay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

func hiddenOf(t *testing.T, layers ...layer) *Waste {
	t.Helper()
	var sources []LayerSource
	for _, l := range layers {
		sources = append(sources, l)
	}
	w, err := hiddenWaste(sources)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestHiddenWaste(t *testing.T) {
	for _, tt := range []struct {
		about  string
		layers []layer
		want   []string // "path size of layer, what in layer: top"
	}{
		{"nothing", []layer{{file("a", 1)}, {file("b", 2)}}, nil},
		{"deleted", []layer{{file("a", 3)}, {whiteout("a")}}, []string{"a 3 of 0, deleted in 1: a"}},
		{"overwritten, and that again", []layer{{file("a", 3)}, {file("a", 2)}, {file("a", 1)}},
			[]string{"a 3 of 0, overwritten in 1: a", "a 2 of 1, overwritten in 2: a"}},
		{"deleted, added later", []layer{{file("a", 3)}, {whiteout("a")}, {file("a", 1)}}, []string{"a 3 of 0, deleted in 1: a"}},
		{"a whiteout and a new file in one layer", []layer{{file("a", 3)}, {whiteout("a"), file("a", 1)}}, []string{"a 3 of 0, overwritten in 1: a"}},
		{"with its directory", []layer{{file("d/e/a", 3)}, {whiteout("d")}}, []string{"d/e/a 3 of 0, deleted in 1: d"}},
		{"by an opaque mark", []layer{{file("d/e/a", 3), file("d/b", 2)}, {opaque("d"), file("d/b", 1)}},
			[]string{"d/e/a 3 of 0, deleted in 1: d/e", "d/b 2 of 0, overwritten in 1: d/b"}},
		{"a directory that becomes a file", []layer{{file("d/a", 3)}, {file("d", 1)}}, []string{"d/a 3 of 0, deleted in 1: d"}},
		{"a file that becomes a directory", []layer{{file("d", 3)}, {file("d/a", 1)}}, []string{"d 3 of 0, deleted in 1: d"}},
		{"made anew with the same names", []layer{{file("d/a", 3)}, {whiteout("d"), file("d/a", 1)}}, []string{"d/a 3 of 0, overwritten in 1: d"}},
		{"two directories, one in the other", []layer{{file("d/e/a", 3)}, {whiteout("d/e")}, {whiteout("d")}}, []string{"d/e/a 3 of 0, deleted in 1: d/e"}},
		{"one name of two is left", []layer{{file("a", 3), link("b", "a")}, {whiteout("a")}}, nil},
		{"the last name goes later", []layer{{file("a", 3), link("b", "a")}, {whiteout("a")}, {file("b", 1)}}, []string{"b 3 of 0, overwritten in 2: b"}},
		{"a link to a lower layer", []layer{{file("a", 3)}, {link("b", "a"), whiteout("a")}}, nil},
		{"twice in one layer", []layer{{file("a", 3), file("a", 2)}}, []string{"a 3 of 0, overwritten in 0: a"}},
		{"what has no contents", []layer{{symlink("a", "b"), dir("d", 0o755), file("e", 0)}, {whiteout("a"), whiteout("d"), whiteout("e")}}, nil},
		{"holes are not stored", []layer{{{Path: "a", Type: toc.Regular, Size: 1000, Sparse: []toc.Extent{{Off: 5, Len: 2}, {Off: 9, Len: 3}}}}, {whiteout("a")}},
			[]string{"a 5 of 0, deleted in 1: a"}},
	} {
		var got []string
		for _, h := range hiddenOf(t, tt.layers...).Hidden {
			did := "overwritten"
			if h.Deleted {
				did = "deleted"
			}
			got = append(got, fmt.Sprintf("%s %d of %d, %s in %d: %s", h.Path, h.Size, h.Layer, did, h.By, h.Top))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: hidden (-want +got):\n%s", tt.about, d)
		}
	}
}

// randomHistory makes a few layers that add, replace, link and delete a few
// paths, each at most once, and gives how many bytes their files hold.
func randomHistory(r *rand.Rand) (layers []layer, total int64) {
	names := []string{"a", "b", "a/c", "a/d", "b/c", "a/c/e", "f"}
	for range 1 + r.IntN(5) {
		var l layer
		had := []string{}
		for range r.IntN(6) {
			name := names[r.IntN(len(names))]
			if slices.ContainsFunc(had, func(other string) bool {
				return name == other || strings.HasPrefix(name, other+"/") || strings.HasPrefix(other, name+"/")
			}) {
				continue // of which a tar could make many things
			}
			switch r.IntN(8) {
			case 0:
				l = append(l, whiteout(name))
			case 1:
				l = append(l, opaque(name))
			case 2:
				l = append(l, dir(name, 0o700))
			case 3:
				if len(had) > 0 {
					l = append(l, link(name+"-link", had[r.IntN(len(had))]))
				}
			default:
				size := 1 + r.Int64N(1000)
				total += size
				l = append(l, file(name, size))
				had = append(had, name)
			}
		}
		layers = append(layers, l)
	}
	return layers, total
}

// Whatever the layers are, what is hidden and what the tree shows is all there
// is; and what Trace tells of all paths is the same.
func TestHiddenWasteAddsUp(t *testing.T) {
	checked := 0
	for seed := range uint64(400) {
		layers, total := randomHistory(rand.New(rand.NewPCG(seed, 0)))
		tree, err := merge(t, layers...)
		if err != nil {
			continue // a link to what a directory of its layer has replaced
		}
		checked++
		shown := int64(0)
		for id := Root; id <= NodeID(tree.Inodes()); id++ {
			a, err := tree.Attr(id)
			if err != nil {
				t.Fatal(err)
			}
			if a.Mode&unix.S_IFMT == unix.S_IFREG {
				shown += a.Size
			}
		}
		w := hiddenOf(t, layers...)
		hidden := int64(0)
		for _, h := range w.Hidden {
			hidden += h.Size
		}
		if w.Size != total || hidden+shown != total {
			t.Errorf("seed %d: size %d, hidden %d, shown %d; the layers hold %d: %+v", seed, w.Size, hidden, shown, total, layers)
		}

		var paths []string
		var sources []LayerSource
		for _, l := range layers {
			sources = append(sources, l)
			for _, e := range l {
				paths = append(paths, e.Path)
			}
		}
		slices.Sort(paths)
		paths = slices.Compact(paths)
		versions, err := Trace(sources, paths)
		if err != nil {
			t.Fatal(err)
		}
		wasted := int64(0)
		for i, path := range paths {
			last := Version{}
			for _, v := range versions[i] {
				wasted += v.Wasted
				last = v
			}
			a, err := tree.Lstat(path)
			if last.Shown != (err == nil) || err == nil && (a.Mode != last.Mode || a.Mode&unix.S_IFMT == unix.S_IFREG && a.Size != last.Size) {
				t.Errorf("seed %d: Trace(%q) ends in %q; in the tree %+v, %v: %+v", seed, path, versionText(last), a, err, layers)
			}
		}
		if wasted != hidden {
			t.Errorf("seed %d: %d bytes wasted at all paths, hidden are %d: %+v", seed, wasted, hidden, layers)
		}
	}
	if checked < 300 {
		t.Errorf("only %d of the histories could be merged", checked)
	}
}

// viewOfBytes gives the view of layers whose contents all lie in data.
func viewOfBytes(t *testing.T, data string, layers ...layer) *View {
	t.Helper()
	tree, err := merge(t, layers...)
	if err != nil {
		t.Fatal(err)
	}
	var readers []LayerReader
	for range layers {
		readers = append(readers, memoryLayer(data))
	}
	v, err := NewView(tree, readers)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDuplicates(t *testing.T) {
	at := func(path string, off, size int64) toc.Entry {
		e := file(path, size)
		e.Off = off
		return e
	}
	v := viewOfBytes(t, "abcabcabxabc", layer{
		at("one", 0, 3), at("two", 3, 3), link("three", "two"), at("other", 6, 3), at("short", 0, 2), at("also short", 3, 2), at("empty", 0, 0), at("empty too", 0, 0),
	}, layer{at("d/four", 9, 3), at("single", 0, 5)})
	var read atomic.Int64
	total := int64(0)
	got, err := v.Duplicates(context.Background(), func(n int64) func(int64) {
		total = n
		return func(n int64) { read.Add(n) }
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Duplicate{
		{Size: 3, Copies: []Copy{{"d/four", 1}, {"one", 0}, {"three", 0}}},
		{Size: 2, Copies: []Copy{{"also short", 0}, {"short", 0}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Duplicates (-want +got):\n%s", d)
	}
	if total != 4*3+2*2 || read.Load() != total {
		t.Errorf("told of %d bytes of %d, want %d", read.Load(), total, 4*3+2*2)
	}
}

// Holes are not read: a file that has more of them than could ever be read is
// soon compared.
func TestDuplicatesOfHoles(t *testing.T) {
	sparse := func(path string, layerOff, at int64) toc.Entry {
		return toc.Entry{Path: path, Type: toc.Regular, Size: 1 << 60, Off: layerOff, Sparse: []toc.Extent{{Off: at, Len: 3}}}
	}
	v := viewOfBytes(t, "abcabcxyz", layer{sparse("a", 0, 1<<50), sparse("b", 3, 1<<50), sparse("elsewhere", 0, 1<<40), sparse("other", 6, 1<<50)})
	got, err := v.Duplicates(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Duplicate{{Size: 3, Copies: []Copy{{"a", 0}, {"b", 0}}}}, got); d != "" {
		t.Errorf("Duplicates (-want +got):\n%s", d)
	}
}
