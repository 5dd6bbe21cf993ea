package overlay

import (
	"slices"
	"testing"
)

func TestLinks(t *testing.T) {
	tree, err := merge(t,
		layer{dir("d", 0o755), file("d/a", 1), link("d/b", "d/a"), dir("e", 0o755), link("e/c", "d/a"), file("one", 1)},
		layer{whiteout("d/b")})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/":    nil,
		"/d":   {"/d"},
		"/d/a": {"/d/a", "/e/c"},
		"/one": {"/one"},
	} {
		a, err := tree.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		links, err := tree.Links(a.ID)
		var got []string
		for _, l := range links {
			dir, pathErr := tree.Path(l.Dir)
			if pathErr != nil {
				t.Fatal(pathErr)
			}
			if dir == "/" {
				dir = ""
			}
			got = append(got, dir+"/"+l.Name)
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Links(%s) = %q, %v; want %q", path, got, err, want)
		}
	}
}
