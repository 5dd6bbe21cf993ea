package overlay

import "testing"

func TestPath(t *testing.T) {
	tree, err := merge(t, layer{
		dir("d", 0o755), dir("d/e", 0o755), file("d/e/f", 1), link("a", "d/e/f"), file("z", 2),
		dir("empty", 0o755), dir("later", 0o755), file("later/x", 3), link("later/w", "z"), link("later/y", "z"), file("later/z", 4),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/", "/d", "/d/e", "/z", "/a", "/empty", "/later", "/later/x", "/later/z"} {
		a, err := tree.Lstat(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tree.Path(a.ID); err != nil || got != want {
			t.Errorf("Path(%d) = %q, %v; want %q", a.ID, got, err, want)
		}
	}
	if got, err := tree.Path(NodeID(tree.Inodes() + 1)); err == nil {
		t.Errorf("Path of no node = %q, want an error", got)
	}
}
