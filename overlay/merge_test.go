package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// The rows are those of SEMANTICS 1 and 2, by number where one is given.
func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		about  string
		layers []layer
		want   []string
	}{
		{"no layers", nil, nil},
		{"an empty layer", []layer{{file("a", 1)}, {}}, []string{"a 1"}},
		{"1.1 folders merge, the rest hides", []layer{
			{dir("d", 0o755), file("d/a", 1), file("d/b", 1)},
			{dir("d", 0o755), file("d/b", 2), file("d/c", 2)},
		}, []string{"d/ 755", "d/a 1", "d/b 2", "d/c 2"}},
		{"1.2 a folder's metadata are the topmost's", []layer{{dir("d", 0o700), file("d/a", 1)}, {dir("d", 0o711)}},
			[]string{"d/ 711", "d/a 1"}},
		{"1.3 dir, file, dir over three layers: only the top", []layer{
			{dir("x", 0o755), file("x/a", 1)}, {file("x", 5)}, {dir("x", 0o755), file("x/b", 2)},
		}, []string{"x/ 755", "x/b 2"}},
		{"1.3 symlink over dir", []layer{{dir("x", 0o755), file("x/a", 1)}, {symlink("x", "y")}}, []string{"x -> y"}},
		{"1.4 whiteout hides a tree", []layer{{dir("x", 0o755), file("x/a", 1), file("y", 1)}, {whiteout("x")}}, []string{"y 1"}},
		{"1.4 whiteout and a dir made anew: opaque", []layer{
			{dir("x", 0o755), file("x/a", 1)}, {whiteout("x"), dir("x", 0o700), file("x/b", 2)},
		}, []string{"x/ 700", "x/b 2"}},
		{"1.4 whiteout in one layer, dir in the next", []layer{
			{dir("x", 0o755), file("x/a", 1)}, {whiteout("x")}, {dir("x", 0o700)},
		}, []string{"x/ 700"}},
		{"1.7 one layer twice", []layer{{file("a", 1), link("b", "a")}, {file("a", 1), link("b", "a")}},
			[]string{"a 1 (2 links)", "b 1 = a"}},
		{"2.1 last wins", []layer{{file("a", 1), file("a", 2)}}, []string{"a 2"}},
		{"2.1 an earlier hard link keeps the old inode", []layer{{file("a", 1), link("b", "a"), file("a", 2)}},
			[]string{"a 2", "b 1"}},
		{"2.2 a whiteout spares its own layer, whichever comes first", []layer{
			{file("a", 1), file("b", 1)}, {file("a", 2), whiteout("a"), whiteout("b"), file("b", 2)},
		}, []string{"a 2", "b 2"}},
		{"2.3 opaque after its siblings", []layer{
			{dir("d", 0o755), file("d/a", 1), dir("d/s", 0o755), file("d/s/x", 1)},
			{dir("d", 0o700), file("d/b", 2), opaque("d"), file("d/c", 2)},
		}, []string{"d/ 700", "d/b 2", "d/c 2"}},
		{"2.3 opaque keeps the dir's metadata if it has no entry", []layer{{dir("d", 0o711), file("d/a", 1)}, {opaque("d")}}, []string{"d/ 711"}},
		{"2.3 opaque root", []layer{{file("a", 1)}, {opaque(""), file("b", 2)}}, []string{"b 2"}},
		{"2.4 whiteout, then entries below it", []layer{
			{dir("x", 0o711), file("x/a", 1)}, {whiteout("x"), file("x/b", 2)},
		}, []string{"x/ 755", "x/b 2"}},
		{"2.5 whiteout of nothing", []layer{{file("a", 1)}, {whiteout("b"), whiteout("a/b"), whiteout("c/d")}}, []string{"a 1"}},
		{"2.6 opaque where the lower is a symlink", []layer{
			{dir("t", 0o755), file("t/a", 1), symlink("d", "t")}, {dir("d", 0o755), opaque("d"), file("d/b", 2)},
		}, []string{"d/ 755", "d/b 2", "t/ 755", "t/a 1"}},
		{"2.6 whiteout through a symlink", []layer{{dir("t", 0o755), file("t/a", 1), symlink("d", "t")}, {whiteout("d/a")}},
			[]string{"d -> t", "t/ 755", "t/a 1"}},
		{"2.7 missing parents", []layer{{file("a/b/c", 1)}}, []string{"a/ 755", "a/b/ 755", "a/b/c 1"}},
		{"2.7 missing parents that a lower layer has", []layer{{dir("a", 0o700)}, {file("a/b", 1)}}, []string{"a/ 700", "a/b 1"}},
		{"2.7 a dir after its children", []layer{{file("a/b", 1), dir("a", 0o700)}}, []string{"a/ 700", "a/b 1"}},
		{"2.7 a parent that is a lower file", []layer{{file("a", 1)}, {file("a/b", 2)}}, []string{"a/ 755", "a/b 2"}},
		{"2.8 below a lower symlink: the overlay's view", []layer{
			{dir("usr", 0o755), dir("usr/lib", 0o755), file("usr/lib/a", 1), symlink("lib", "usr/lib")}, {file("lib/x", 2)},
		}, []string{"lib/ 755", "lib/x 2", "usr/ 755", "usr/lib/ 755", "usr/lib/a 1"}},
		{"2.8 below a symlink of the same layer: followed", []layer{
			{symlink("lib", "usr/lib"), file("lib/x", 2)},
		}, []string{"lib -> usr/lib", "usr/ 755", "usr/lib/ 755", "usr/lib/x 2"}},
		{"2.8 a symlink of the same layer out of the root stays inside", []layer{
			{symlink("up", "../../etc"), file("up/x", 2), symlink("abs", "/etc"), file("abs/y", 3)},
		}, []string{"abs -> /etc", "etc/ 755", "etc/x 2", "etc/y 3", "up -> ../../etc"}},
		{"2.10 hard link into a lower layer", []layer{{file("a", 1)}, {link("b", "a")}}, []string{"a 1 (2 links)", "b 1 = a"}},
		{"2.10 nlink after a whiteout", []layer{{file("a", 1), link("b", "a"), link("c", "a")}, {whiteout("a")}},
			[]string{"b 1 (2 links)", "c 1 = b"}},
		{"2.10 link to a later entry", []layer{{link("b", "a"), link("c", "b"), file("a", 1)}},
			[]string{"a 1 (3 links)", "b 1 = a", "c 1 = a"}},
		{"2.10 a link to a later entry, and a file over it", []layer{{link("b", "a"), file("b", 5), file("a", 7)}}, []string{"a 7", "b 5"}},
		{"2.10 a link to a later entry, and a dir over it", []layer{{link("b", "a"), dir("b", 0o755), file("b/c", 5), file("a", 7)}},
			[]string{"a 7", "b/ 755", "b/c 5"}},
		{"2.10 two links of one name to later entries", []layer{{link("b", "a"), link("b", "c"), file("a", 5), file("c", 7)}},
			[]string{"a 5", "b 7 (2 links)", "c 7 = b"}},
		{"2.10 link to itself", []layer{{file("a", 1), link("a", "a")}}, []string{"a 1"}},
		{"2.10 a chain is one inode", []layer{{file("a", 1), link("b", "a"), link("c", "b")}},
			[]string{"a 1 (3 links)", "b 1 = a", "c 1 = a"}},
		{"2.10 link to a symlink", []layer{{symlink("s", "nowhere"), link("h", "s")}},
			[]string{"h -> nowhere (2 links)", "s -> nowhere = h"}},
		{"2.10 the target is hidden in the same layer", []layer{
			{dir("d", 0o755), file("d/a", 1)}, {link("b", "d/a"), whiteout("d")},
		}, []string{"b 1"}},
		{"2.10 the target's path goes through a symlink", []layer{
			{dir("usr", 0o755), file("usr/a", 1), symlink("l", "usr")}, {link("b", "l/a")},
		}, []string{"b 1 (2 links)", "l -> usr", "usr/ 755", "usr/a 1 = b"}},
		{"2.18 dir twice keeps its children", []layer{{dir("d", 0o700), file("d/a", 1), dir("d", 0o711)}},
			[]string{"d/ 711", "d/a 1"}},
		{"2.18 file, dir, file", []layer{{file("x", 1), dir("x", 0o755), file("x/a", 1), file("x", 2)}}, []string{"x 2"}},
		{"2.18 dir, file, dir", []layer{{dir("x", 0o755), file("x/a", 1), file("x", 2), dir("x", 0o700)}}, []string{"x/ 700"}},
	} {
		tree, err := merge(t, tt.layers...)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		if diff := cmp.Diff(tt.want, list(t, tree)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.about, diff)
		}
		if err := tree.Check(); err != nil {
			t.Errorf("%s: %v", tt.about, err)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	for _, tt := range []struct {
		about  string
		layers []layer
		want   string // part of the error
	}{
		{"link to nothing", []layer{{file("x", 1)}, {link("a", "b")}}, `layer 2: "a": hard link to "b", which is in no layer`},
		{"links to each other", []layer{{link("a", "b"), link("b", "a")}}, "in no layer"},
		{"link to a directory", []layer{{dir("d", 0o755), link("a", "d")}}, "hard link to a directory"},
		{"a root that is a file", []layer{{file("", 1)}}, "root"},
		{"symlinks that go round", []layer{{symlink("a", "b"), symlink("b", "a"), file("a/x", 1)}}, "too many levels of symbolic links"},
	} {
		if _, err := merge(t, tt.layers...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.about, err, tt.want)
		}
	}
}

func TestMergeKeepsMetadata(t *testing.T) {
	for _, tt := range []struct {
		about string
		entry toc.Entry
		want  Attr // but for ID
	}{
		{"setuid, big owner", toc.Entry{Type: toc.Regular, Mode: 0o4755, UID: 1<<32 - 2, GID: 3000000, Size: 1 << 40},
			Attr{Mode: unix.S_IFREG | 0o4755, Nlink: 1, UID: 1<<32 - 2, GID: 3000000, Size: 1 << 40, Blocks: 1 << 31}},
		{"before 1970", toc.Entry{Type: toc.Fifo, Mtime: toc.Time{Sec: -1, Nsec: 5e8}},
			Attr{Mode: unix.S_IFIFO, Nlink: 1, Mtime: toc.Time{Sec: -1, Nsec: 5e8}}},
		{"the last time that fits", toc.Entry{Type: toc.Fifo, Mtime: toc.Time{Sec: 1<<33 - 1, Nsec: 999999999}},
			Attr{Mode: unix.S_IFIFO, Nlink: 1, Mtime: toc.Time{Sec: 1<<33 - 1, Nsec: 999999999}}},
		{"a far time", toc.Entry{Type: toc.Fifo, Mtime: toc.Time{Sec: -1 << 62, Nsec: 1}},
			Attr{Mode: unix.S_IFIFO, Nlink: 1, Mtime: toc.Time{Sec: -1 << 62, Nsec: 1}}},
		{"device", toc.Entry{Type: toc.Char, Mode: 0o600, Major: 0xabc, Minor: 0xdef12},
			Attr{Mode: unix.S_IFCHR | 0o600, Nlink: 1, Rdev: 0xdefabc12}},
		{"symlink", toc.Entry{Type: toc.Symlink, Mode: 0o644, Link: "over/there"},
			Attr{Mode: unix.S_IFLNK | 0o777, Nlink: 1, Size: 10}},
		{"sparse", toc.Entry{Type: toc.Regular, Size: 1 << 20, Sparse: []toc.Extent{{Off: 4096, Len: 1000}}},
			Attr{Mode: unix.S_IFREG, Nlink: 1, Size: 1 << 20, Blocks: 2}},
		{"one hole", toc.Entry{Type: toc.Regular, Size: 1 << 20, Sparse: []toc.Extent{}},
			Attr{Mode: unix.S_IFREG, Nlink: 1, Size: 1 << 20}},
	} {
		tt.entry.Path = "x"
		tt.entry.Xattrs = []toc.Xattr{{Name: "security.capability", Value: []byte("\x00\x01")}, {Name: "user.empty", Value: []byte{}}}
		tree, err := merge(t, layer{tt.entry})
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		id, err := tree.Lookup(Root, "x")
		if err != nil {
			t.Fatal(err)
		}
		got, err := tree.Attr(id)
		tt.want.ID = id
		tt.want.SetTimes(tt.want.Mtime)
		if err != nil || got != tt.want {
			t.Errorf("%s: Attr = %+v, %v; want %+v", tt.about, got, err, tt.want)
		}
		xs, err := tree.Xattrs(id)
		if diff := cmp.Diff(tt.entry.Xattrs, xs); err != nil || diff != "" {
			t.Errorf("%s: Xattrs: %v (-want +got)\n%s", tt.about, err, diff)
		}
	}
}

func TestDirectoryLinks(t *testing.T) {
	tree, err := merge(t, layer{dir("d", 0o755), dir("d/a", 0o755), dir("d/b", 0o755), file("d/f", 1)}, layer{whiteout("d/b")})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := tree.Lookup(Root, "d")
	a, _ := tree.Lookup(d, "a")
	for id, want := range map[NodeID]uint32{Root: 3, d: 3, a: 2} {
		if got, err := tree.Attr(id); err != nil || got.Nlink != want {
			t.Errorf("Attr(%d).Nlink = %d, %v; want %d", id, got.Nlink, err, want)
		}
	}
	for id, want := range map[NodeID]NodeID{Root: Root, d: Root, a: d} {
		if got, err := tree.Parent(id); err != nil || got != want {
			t.Errorf("Parent(%d) = %d, %v; want %d", id, got, err, want)
		}
	}
}

func TestMergeAlone(t *testing.T) {
	layers := []layer{
		{dir("d", 0o711), file("d/a", 1), file("d/b", 1), file("gone", 1), symlink("l", "d")},
		{opaque("d"), file("d/c", 2), whiteout("gone"), link("h", "d/a"), link("d/i", "l/a"), link("j", "d/c")},
		{file("top", 3)},
	}
	sources := make([]LayerSource, len(layers))
	for i := range layers {
		sources[i] = layers[i]
	}
	for n, want := range [][]string{
		{"d/ 711", "d/a 1", "d/b 1", "gone 1", "l -> d"},
		{".wh.gone 0", "d/ 755", "d/.wh..wh..opq 0", "d/c 2 (2 links)", "d/i 1 (2 links)", "h 1 = d/i", "j 2 = d/c"},
		{"top 3"},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "tree"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := MergeAlone(t.Context(), f, "key", sources, n, make([]LayerInfo, len(layers))); err != nil {
			t.Fatal(err)
		}
		tree, err := OpenTree(f.Name(), "key")
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		if diff := cmp.Diff(want, list(t, tree)); diff != "" {
			t.Errorf("layer %d: (-want +got)\n%s", n, diff)
		}
		if err := tree.Check(); err != nil {
			t.Errorf("layer %d: %v", n, err)
		}
	}
}

// What a small layer may ask for again and again costs no more each time. With
// time that is the square of the count, these would take minutes.
func TestMergeManyOfOne(t *testing.T) {
	const n = 50_000
	var chain, duplicates, marks layer
	for i := range n {
		chain = append(chain, link(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d", i+1)))
		duplicates = append(duplicates, file("x", 1), link(fmt.Sprintf("l%d", i), "x"))
		marks = append(marks, opaque("d"), whiteout("x"))
	}
	chain = append(chain, file(fmt.Sprintf("l%d", n), 7))
	many := layer{file("x", 1)}
	for i := range n {
		many = append(many, file(fmt.Sprintf("d/f%d", i), 1))
	}
	for _, tt := range []struct {
		about  string
		layers []layer
		names  int
	}{
		{"links to links that come later", []layer{chain}, n + 1},
		{"one name again and again, and links to each", []layer{duplicates}, n + 1},
		{"one directory marked again and again", []layer{many, marks}, 1},
	} {
		tree, err := merge(t, tt.layers...)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
		} else if tree.Names() != tt.names {
			t.Errorf("%s: %d names, want %d", tt.about, tree.Names(), tt.names)
		}
	}
	deep := layer{symlink("s0", strings.Repeat("./", 2000)+"d"), dir("d", 0o755)}
	for i := range 200 {
		deep = append(deep, symlink(fmt.Sprintf("s%d", i+1), strings.Repeat("./", 2000)+fmt.Sprintf("s%d", i)))
	}
	for i := range 10_000 {
		deep = append(deep, file("s200/f", int64(i)), file("d/g", int64(i)))
	}
	if _, err := merge(t, deep); err == nil {
		t.Error("40 GB of symlinks were followed, want an error")
	}
}
