package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// treeAnswers is all that a tree tells, by question; what fails with a
// *TreeError is left out, anything else that fails is told.
func treeAnswers(tree *Tree) map[string]string {
	answers := map[string]string{}
	note := func(what string, id NodeID, answer any, err error) {
		if bad := (*TreeError)(nil); !errors.As(err, &bad) {
			answers[fmt.Sprint(what, id)] = fmt.Sprint(answer, err)
		}
	}
	for i := range tree.Inodes() {
		id := NodeID(i + 1)
		a, err := tree.Attr(id)
		note("attr", id, a, err)
		xs, err := tree.Xattrs(id)
		note("xattrs", id, xs, err)
		target, err := tree.Readlink(id)
		note("target", id, target, err)
		parent, err := tree.Parent(id)
		note("parent", id, parent, err)
		path, err := tree.Path(id)
		note("path", id, path, err)
		links, err := tree.Links(id)
		note("links", id, links, err)
		list := ""
		err = tree.ReadDir(id, 0, func(name string, id NodeID, _ uint64) bool {
			list += fmt.Sprint(name, id, " ")
			return true
		})
		note("list", id, list, err)
		for _, name := range []string{"a", "b", "d", "e", "sparse", "none"} {
			found, err := tree.Lookup(id, name)
			note("lookup "+name+" ", id, found, err)
		}
		d, err := tree.fileData(id)
		where := ""
		if err == nil {
			err = d.each(0, d.size, func(off, n int64) error {
				where += fmt.Sprint(d.layer, off, n, " ")
				return nil
			})
		}
		note("data", id, where, err)
	}
	return answers
}

// TestTreeDamagedLive flips each byte of a tree that is open, and cuts it: what
// it tells is right, or a *TreeError.
func TestTreeDamagedLive(t *testing.T) {
	good := treeFile(t)
	path := filepath.Join(t.TempDir(), "tree")
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	damage := func(what string, do, undo func() error) {
		t.Helper()
		tree, err := OpenTree(path, "key") // whose tables are not made yet
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		want := treeAnswers(tree)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for question, answer := range treeAnswers(tree) {
				if answer != want[question] {
					t.Errorf("%s: %s: %s, want %s", what, question, answer, want[question])
				}
			}
			tree.names = reverse{} // as if nobody had asked for a name before
		}
		if err := undo(); err != nil {
			t.Fatal(err)
		}
	}
	put := func(at int, b byte) func() error {
		return func() error {
			_, err := f.WriteAt([]byte{b}, int64(at))
			return err
		}
	}
	for i := treeHeaderLen; i < len(good); i++ {
		damage(fmt.Sprintf("byte %d flipped", i), put(i, good[i]^1<<(i%8)), put(i, good[i]))
	}
	damage("cut", func() error { return f.Truncate(0) }, func() error {
		_, err := f.WriteAt(good, 0)
		return err
	})
}
