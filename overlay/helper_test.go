package overlay

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A layer is a LayerSource made by hand.
type layer []toc.Entry

func (l layer) Markers() iter.Seq2[*toc.Entry, error] { return l.only(true) }
func (l layer) Entries() iter.Seq2[*toc.Entry, error] { return l.only(false) }

func (l layer) only(markers bool) iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		for i := range l {
			e := l[i]
			if e.Marker() == markers && !yield(&e, nil) {
				return
			}
		}
	}
}

// What a layer is made of. The size of a file tells apart which one is seen.
func file(path string, size int64) toc.Entry {
	return toc.Entry{Path: path, Type: toc.Regular, Mode: 0o644, Size: size}
}
func dir(path string, mode uint16) toc.Entry {
	return toc.Entry{Path: path, Type: toc.Dir, Mode: mode}
}
func symlink(path, target string) toc.Entry {
	return toc.Entry{Path: path, Type: toc.Symlink, Link: target}
}
func link(path, target string) toc.Entry {
	return toc.Entry{Path: path, Type: toc.Hardlink, Link: target}
}
func whiteout(path string) toc.Entry { return toc.Entry{Path: path, Type: toc.Whiteout} }
func opaque(path string) toc.Entry   { return toc.Entry{Path: path, Type: toc.Opaque} }

// merge gives the tree of layers, bottom first.
func merge(t testing.TB, layers ...layer) (*Tree, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sources := make([]LayerSource, len(layers))
	for i, l := range layers {
		sources[i] = l
	}
	if err := Merge(t.Context(), f, "key", sources, make([]LayerInfo, len(layers))); err != nil {
		return nil, err
	}
	tree, err := OpenTree(f.Name(), "key")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree, nil
}

// list gives a line for each name below the root, in order of path: what it
// is, and for names that share an inode with another, the first of them.
func list(t testing.TB, tree *Tree) []string {
	t.Helper()
	var lines []string
	first := map[NodeID]string{}
	var walk func(dir NodeID, prefix string)
	walk = func(dir NodeID, prefix string) {
		err := tree.ReadDir(dir, 0, func(name string, id NodeID, _ uint64) bool {
			path := prefix + name
			a, err := tree.Attr(id)
			if err != nil {
				t.Fatalf("Attr of %s: %v", path, err)
			}
			line := path
			switch a.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				line += fmt.Sprintf("/ %o", a.Mode&0o7777)
			case unix.S_IFLNK:
				target, err := tree.Readlink(id)
				if err != nil {
					t.Fatalf("Readlink of %s: %v", path, err)
				}
				line += " -> " + target
			case unix.S_IFREG:
				line += fmt.Sprintf(" %d", a.Size)
			default:
				line += fmt.Sprintf(" %o", a.Mode)
			}
			if other := first[id]; other != "" {
				line += " = " + other
			} else if a.Mode&unix.S_IFMT != unix.S_IFDIR {
				first[id] = path
				if a.Nlink != 1 {
					line += fmt.Sprintf(" (%d links)", a.Nlink)
				}
			}
			lines = append(lines, line)
			if a.Mode&unix.S_IFMT == unix.S_IFDIR {
				walk(id, path+"/")
			}
			return true
		})
		if err != nil {
			t.Fatalf("ReadDir of %q: %v", prefix, err)
		}
	}
	walk(Root, "")
	slices.Sort(lines)
	return lines
}

// zeros is a layer of zeros without end.
type zeros struct{}

func (zeros) ReadAt(_ context.Context, p []byte, _ int64) (int, error) { clear(p); return len(p), nil }
func (zeros) Cached(int64, int) bool                                   { return true }
