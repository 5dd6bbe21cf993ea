package overlay

import (
	"errors"
	iofs "io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestWalk(t *testing.T) {
	tree, err := merge(t, layer{
		dir("b", 0o755), file("b/2", 1), dir("b/1", 0o755), file("b/1/x", 1), file("b.c", 1), file("a", 1),
		symlink("b/3", "1"), dir("c", 0o755), file("c/y", 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	for _, tt := range []struct {
		about, path, node string
		stop              string // visit gives err there
		err               error
		want              []string
		wantErr           error
	}{
		{about: "all, as in a tar", want: []string{"0 ", "1 a", "1 b", "2 b/1", "3 b/1/x", "2 b/2", "2 b/3", "1 b.c", "1 c", "2 c/y"}},
		{about: "below a slash", path: "/", node: "c", want: []string{"0 /", "1 /y"}},
		{about: "a path with a slash at its end", path: "/c/", node: "c", want: []string{"0 /c/", "1 /c/y"}},
		{about: "a file", path: "b.c", node: "b.c", want: []string{"0 b.c"}},
		{about: "skip a directory", stop: "b", err: iofs.SkipDir, want: []string{"0 ", "1 a", "1 b", "1 b.c", "1 c", "2 c/y"}},
		{about: "skip the start", stop: "", err: iofs.SkipDir, want: []string{"0 "}},
		{about: "skip what is no directory", stop: "b/1/x", err: iofs.SkipDir, want: []string{"0 ", "1 a", "1 b", "2 b/1", "3 b/1/x", "2 b/2", "2 b/3", "1 b.c", "1 c", "2 c/y"}},
		{about: "skip the rest", stop: "b/1", err: iofs.SkipAll, want: []string{"0 ", "1 a", "1 b", "2 b/1"}},
		{about: "an error", stop: "b/1/x", err: enough, want: []string{"0 ", "1 a", "1 b", "2 b/1", "3 b/1/x"}, wantErr: enough},
	} {
		a, err := tree.Stat(tt.node)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = tree.Walk(tt.path, a.ID, func(v *Visit) error {
			got = append(got, string(rune('0'+v.Depth))+" "+v.Path)
			if v.Path == tt.stop {
				return tt.err
			}
			return nil
		})
		if d := cmp.Diff(tt.want, got); d != "" || !errors.Is(err, tt.wantErr) {
			t.Errorf("%s: error %v, want %v; visits (-want +got):\n%s", tt.about, err, tt.wantErr, d)
		}
	}
	if err := tree.Walk("", 99, nil); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Walk from no node: %v, want ErrNotExist", err)
	}
}

// TestWalkDeep: what an image holds does not run us out of stack or
// descriptors, however deep it is.
func TestWalkDeep(t *testing.T) {
	path, l := "", layer{}
	for range 3000 {
		path += "d"
		l = append(l, dir(path, 0o755))
		path += "/"
	}
	tree, err := merge(t, l)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = tree.Walk("", Root, func(v *Visit) error {
		if v.Attr.Mode&unix.S_IFMT != unix.S_IFDIR || v.Depth != n {
			t.Fatalf("visit %d: %+v", n, v)
		}
		n++
		return nil
	})
	if err != nil || n != 3001 {
		t.Errorf("%d visits, %v; want 3001", n, err)
	}
}
