package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mica/layerstore/toc"

	"mica/layerstore"
)

// treeFile makes a tree with all that one can hold and gives its bytes.
func treeFile(t testing.TB) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	base := layer{
		dir("d", 0o755), file("d/a", 1000), link("d/b", "d/a"), symlink("s", "d/a"),
		{Path: "dev", Type: toc.Block, Major: 8, Minor: 1},
		{Path: "sparse", Type: toc.Regular, Size: 1 << 20, Off: 512, Sparse: []toc.Extent{{Off: 4096, Len: 100}, {Off: 8192, Len: 50}}},
		{Path: "far", Type: toc.Fifo, Mtime: toc.Time{Sec: 1 << 40}},
		{Path: "x", Type: toc.Regular, Xattrs: []toc.Xattr{{Name: "user.a", Value: []byte("b")}}},
	}
	infos := []LayerInfo{{Digest: "sha256:1", DiffID: "sha256:2", Size: 5000, History: "COPY"}, {}}
	if err := Merge(t.Context(), f, "key", []LayerSource{base, layer{whiteout("d/b"), file("e/f/g", 1)}}, infos); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every byte of a tree file is checked: flipped or cut, it does not open.
func TestTreeDamaged(t *testing.T) {
	good := treeFile(t)
	path := filepath.Join(t.TempDir(), "tree")
	open := func(b []byte, key string) error {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := OpenTree(path, key)
		if err == nil {
			tree.Close()
		}
		return err
	}
	if err := open(good, "key"); err != nil {
		t.Fatal(err)
	}
	bad := (*TreeError)(nil)
	if err := open(good, "another"); !errors.As(err, &bad) {
		t.Errorf("the tree of another chain: %v, want a *TreeError", err)
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		if err := open(b, "key"); !errors.As(err, &bad) {
			t.Errorf("byte %d flipped: %v, want a *TreeError", i, err)
		}
		if err := open(good[:i], "key"); !errors.As(err, &bad) {
			t.Errorf("cut to %d bytes: %v, want a *TreeError", i, err)
		}
	}
	if err := open(append(good, 0), "key"); !errors.As(err, &bad) {
		t.Errorf("a byte too long: %v, want a *TreeError", err)
	}
}

func TestLookup(t *testing.T) {
	tree, err := merge(t, layer{file("a", 1), file("aa", 2), file("b", 3), dir("c", 0o755), file(strings.Repeat("n", 255), 4)})
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"a": 1, "aa": 2, "b": 3, strings.Repeat("n", 255): 4} {
		id, err := tree.Lookup(Root, name)
		if err != nil {
			t.Fatalf("Lookup(%q): %v", name, err)
		}
		if a, err := tree.Attr(id); err != nil || a.Size != size {
			t.Errorf("Lookup(%q) has %d bytes, %v; want %d", name, a.Size, err, size)
		}
	}
	for _, name := range []string{"", "A", "aaa", "bb", "z", strings.Repeat("n", 254)} {
		if id, err := tree.Lookup(Root, name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Lookup(%q) = %d, %v; want none", name, id, err)
		}
	}
	a, _ := tree.Lookup(Root, "a")
	if _, err := tree.Lookup(a, "x"); !errors.Is(err, ErrNotDir) {
		t.Errorf("Lookup in a file: %v, want ErrNotDir", err)
	}
	for _, id := range []NodeID{0, NodeID(tree.Inodes() + 1), 1 << 40} {
		if _, err := tree.Attr(id); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Attr(%d): %v, want none", id, err)
		}
	}
}

// A forged tree gives errors or nonsense in range, never a panic.
func FuzzTree(f *testing.F) {
	f.Add(treeFile(f))
	path := filepath.Join(f.TempDir(), "tree")
	f.Fuzz(func(t *testing.T, b []byte) {
		fixTreeSums(b)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := OpenTree(path, "key")
		if err != nil {
			if bad := (*TreeError)(nil); !errors.As(err, &bad) {
				t.Fatalf("OpenTree: %v (%T), want a *TreeError", err, err)
			}
			return
		}
		defer tree.Close()
		readers := make([]LayerReader, len(tree.Layers()))
		for i := range readers {
			readers[i] = zeros{}
		}
		v, err := NewView(tree, readers)
		if err != nil {
			t.Fatal(err)
		}
		// What it proves or not is of no interest: that it ends is.
		_ = tree.Check()
		buf := make([]byte, 100)
		for id := NodeID(0); id <= NodeID(min(tree.Inodes(), 100)+1); id++ {
			_, _ = v.Attr(id)
			_, _ = v.Xattrs(id)
			_, _ = v.Xattr(id, "user.mica.layer")
			_, _ = v.Readlink(id)
			_, _ = v.Parent(id)
			_, _ = v.Lookup(id, "a")
			for _, off := range []int64{0, 4000, 1<<20 - 1, 1 << 62} {
				_, _ = v.ReadAt(t.Context(), id, buf, off)
				_, _ = v.SeekData(id, off)
				_, _ = v.SeekHole(id, off)
				v.Cached(id, off, len(buf))
			}
		}
	})
}

// fixTreeSums makes the checksums of a tree right again.
func fixTreeSums(b []byte) {
	if len(b) < treeHeaderLen {
		return
	}
	le := binary.LittleEndian
	for i := range numSections {
		s := b[16+i*treeSectionLen:]
		off, n := le.Uint64(s), le.Uint64(s[8:])
		if off <= uint64(len(b)) && n <= uint64(len(b))-off {
			le.PutUint32(s[16:], checksum(b[off:off+n]))
		}
	}
	le.PutUint32(b[treeHeaderLen-4:], checksum(b[:treeHeaderLen-4]))
}

// TestPassing damages a tree: who only passes the image on does not see it, who
// reads it makes the tree anew, and what is of other layers nobody takes.
func TestPassing(t *testing.T) {
	store := layerstore.Open(t.TempDir())
	layers := []Layer{tarLayer(t, "", "d/", "d/a", "d/b")}
	open := func(o Options) string {
		t.Helper()
		img, err := OpenImage(t.Context(), store, layers, o)
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close()
		a, err := img.Lookup(Root, "d")
		return fmt.Sprint(a.ID, err)
	}
	want := open(Options{})
	path := store.TreePath(chainKey(layers, false))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-len(b)/2] ^= 0xff
	damaged := slices.Clone(b)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	open(Options{Passing: true})
	if b, _ := os.ReadFile(path); !slices.Equal(b, damaged) {
		t.Error("whoever passed the image on has read all of the tree")
	}
	if got := open(Options{}); got != want {
		t.Errorf("Lookup in a tree that was damaged = %s, want %s", got, want)
	}
	if b, _ := os.ReadFile(path); slices.Equal(b, damaged) {
		t.Error("the tree is still damaged")
	}
}
