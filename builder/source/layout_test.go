package source

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLay puts items into an image with symlinks, and into none.
func TestLay(t *testing.T) {
	image, context_ := t.TempDir(), t.TempDir()
	treeAt(t, image, "usr/lib/old", "lib -> usr/lib", "abs -> /usr", "up -> ../../usr/lib", "gone -> not/there", "loop -> loop", "file")
	treeAt(t, context_, "f", "d/lib/x", "d/usr/y", "d2/file/x", "d3/usr")
	for _, tt := range []struct {
		about, source, dest string
		destDir             bool
		empty               bool
		want                string // items, then "+" directories that are made, "=" those that are there
		err                 string
	}{
		{about: "a new directory", source: "f", dest: "a/b", destDir: true, want: "a/b/f +a +a/b"},
		{about: "through a symlink", source: "f", dest: "lib", destDir: true, want: "usr/lib/f =usr =usr/lib"},
		{about: "through an absolute one", source: "f", dest: "abs/new", destDir: true, want: "usr/new/f =usr +usr/new"},
		{about: "above the root", source: "f", dest: "up/f", want: "usr/lib/f =usr =usr/lib"},
		{about: "a symlink to nothing is where it leads", source: "f", dest: "gone", destDir: true, want: "not/there/f +not +not/there"},
		{about: "directories over symlinks to directories", source: "d", dest: "", destDir: true, want: "usr usr/lib usr/lib/x usr/y"},
		{about: "a symlink itself is replaced by a file", source: "f", dest: "gone", want: "gone"},
		{about: "an image without layers", source: "d", dest: "lib", destDir: true, empty: true, want: "lib/lib lib/lib/x lib/usr lib/usr/y +lib"},
		{about: "a file for a directory", source: "d2", dest: "", destDir: true, err: "/file is there and no directory: a directory cannot replace it"},
		{about: "a directory for a file", source: "d3", dest: "", destDir: true, err: "/usr is a directory: a file cannot replace it"},
		{about: "through a file", source: "f", dest: "file/x/y", err: "/file is no directory in the image"},
		{about: "in a circle", source: "f", dest: "loop/x", err: "loop: too many symlinks, one after the other"},
	} {
		items, err := Select(context.Background(), open(t, context_), Request{Sources: []string{tt.source}, Dest: tt.dest, DestDir: tt.destDir})
		if err != nil {
			t.Fatal(err)
		}
		var in Tree = open(t, image)
		if tt.empty {
			in = Empty{}
		}
		l, err := Lay(in, items, &Owner{1, 2})
		if err != nil || tt.err != "" {
			if fmt.Sprint(err) != tt.err {
				t.Errorf("%s: %v, want %s", tt.about, err, tt.err)
			}
			continue
		}
		got := ""
		for _, it := range l.Items {
			got += " " + it.Path
		}
		for _, d := range l.Dirs {
			mark := "="
			if l.Made[d.Path] {
				mark = "+"
				if d.UID != 1 || d.GID != 2 || d.Mode != 0o755 {
					t.Errorf("%s: %s is made as %o of %d:%d", tt.about, d.Path, d.Mode, d.UID, d.GID)
				}
			}
			got += " " + mark + d.Path
		}
		if d := cmp.Diff(" "+tt.want, got); d != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.about, d)
		}
	}
}
