package source

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// treeAt makes files: "a/b" with its name as contents, "d/" a directory,
// "l -> t" a symlink, "h = f" a hard link, "s @" a socket.
func treeAt(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		name, target, link := strings.Cut(f, " -> ")
		first, other, hard := strings.Cut(f, " = ")
		socket := strings.HasSuffix(f, " @")
		at := filepath.Join(dir, strings.TrimSuffix(name, " @"))
		if hard {
			at = filepath.Join(dir, first)
		}
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, at)
		case hard:
			err = os.Link(filepath.Join(dir, other), at)
		case socket:
			err = unix.Mknod(at, unix.S_IFSOCK|0o644, 0)
		case strings.HasSuffix(f, "/"):
			err = os.MkdirAll(at, 0o755)
		default:
			err = os.WriteFile(at, []byte(f), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// open gives the tree of a directory, without what a .dockerignore leaves out.
func open(t *testing.T, dir string, ignore ...string) Tree {
	t.Helper()
	d, err := OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	tree, err := Ignoring(d, ignore)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestSelect(t *testing.T) {
	dir := t.TempDir()
	treeAt(t, dir, "a", "b.txt", "c.txt", "d/x", "d/y.md", "d/e/z.txt", "d/empty/", "l -> d/x", "ld -> d", "abs -> /d/y.md", "d/up -> ../../../a", "q[1]", "two = a")
	for _, tt := range []struct {
		about  string
		r      Request
		ignore []string
		want   string // "path<from" of each, "?" behind a directory that is implied
	}{
		{about: "a file to a name", r: Request{Sources: []string{"a"}, Dest: "x/n"}, want: "x/n<a"},
		{about: "a file into a directory", r: Request{Sources: []string{"d/x"}, Dest: "x", DestDir: true}, want: "x/x<d/x"},
		{about: "a file into the root", r: Request{Sources: []string{"/a"}, DestDir: true}, want: "a<a"},
		{about: "a directory is its contents", r: Request{Sources: []string{"d/"}, Dest: "x", DestDir: true},
			want: "x?<d x/e<d/e x/e/z.txt<d/e/z.txt x/empty<d/empty x/up<d/up x/x<d/x x/y.md<d/y.md"},
		{about: "a pattern", r: Request{Sources: []string{"*.txt"}, DestDir: true}, want: "b.txt<b.txt c.txt<c.txt"},
		{about: "a pattern that matches directories: their contents", r: Request{Sources: []string{"d/e*"}, DestDir: true}, want: "?<d/e z.txt<d/e/z.txt"},
		{about: "an escaped bracket", r: Request{Sources: []string{`q\[1]`}, DestDir: true}, want: "q[1]<q[1]"},
		{about: "a pattern that matches nothing beside a source", r: Request{Sources: []string{"a", "*.none"}, DestDir: true}, want: "a<a"},
		{about: "a symlink is what it leads to, under its name", r: Request{Sources: []string{"l"}, DestDir: true}, want: "l<d/x"},
		{about: "a symlink to a directory", r: Request{Sources: []string{"ld/e"}, Dest: "x", DestDir: true}, want: "x?<d/e x/z.txt<d/e/z.txt"},
		{about: "an absolute symlink is one from the root", r: Request{Sources: []string{"abs"}, DestDir: true}, want: "abs<d/y.md"},
		{about: "above the root is the root", r: Request{Sources: []string{"d/up"}, DestDir: true}, want: "up<a"},
		{about: "of two for one place the later", r: Request{Sources: []string{"a", "b.txt", "d/../a"}, DestDir: true}, want: "a<a b.txt<b.txt"},
		{about: "exclude, from the source", r: Request{Sources: []string{"d"}, Dest: "x", Exclude: []string{"*.md", "e"}}, want: "x?<d x/empty<d/empty x/up<d/up x/x<d/x"},
		{about: "exclude, of a pattern", r: Request{Sources: []string{"?.txt"}, DestDir: true, Exclude: []string{"c*"}}, want: "b.txt<b.txt"},
		{about: "exclude, below", r: Request{Sources: []string{"d"}, DestDir: true, Exclude: []string{"**/*.txt", "up"}}, want: "?<d e<d/e empty<d/empty x<d/x y.md<d/y.md"},
		{about: "parents", r: Request{Sources: []string{"d/e/z.txt"}, Dest: "x", Parents: true}, want: "x/d<d x/d/e<d/e x/d/e/z.txt<d/e/z.txt"},
		{about: "parents from a pivot on", r: Request{Sources: []string{"d/./e/z.txt"}, Dest: "x", Parents: true}, want: "x/e<d/e x/e/z.txt<d/e/z.txt"},
		{about: "parents of a pattern", r: Request{Sources: []string{"**/*.txt"}, Dest: "x", Parents: true}, want: "x/b.txt<b.txt x/c.txt<c.txt x/d<d x/d/e<d/e x/d/e/z.txt<d/e/z.txt"},
		{about: "ignored", r: Request{Sources: []string{"."}, DestDir: true}, ignore: []string{"*", "!d", "d/*", "!d/e"}, want: "?< d<d d/e<d/e d/e/z.txt<d/e/z.txt"},
		{about: "ignored below", r: Request{Sources: []string{"d"}, DestDir: true}, ignore: []string{"**/*.txt", "d/up"}, want: "?<d e<d/e empty<d/empty x<d/x y.md<d/y.md"},
	} {
		items, err := Select(context.Background(), open(t, dir, tt.ignore...), tt.r)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		var got []string
		for _, it := range items {
			text := it.Path
			if it.Implied {
				text += "?"
			}
			got = append(got, text+"<"+it.Entry.Path)
		}
		if d := cmp.Diff(strings.Fields(tt.want), got); d != "" {
			t.Errorf("%s: items (-want +got):\n%s", tt.about, d)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	outer := t.TempDir()
	treeAt(t, outer, "secret", "dir/f")
	dir := t.TempDir()
	treeAt(t, dir, "a", "b", "abs -> "+outer+"/secret", "rel -> ../../../../../.."+outer+"/secret", "absdir -> "+outer+"/dir", "loop -> loop", "to -> abs", "s @", "gone -> nothing", "d/l -> "+outer)
	for _, tt := range []struct {
		r      Request
		ignore []string
		want   string
	}{
		{Request{Sources: []string{"c"}}, nil, "c: no such file or directory"},
		{Request{Sources: []string{"gone"}}, nil, "gone: no such file or directory"},
		{Request{Sources: []string{"*.c", "?.d"}}, nil, "*.c ?.d: no such file or directory"},
		{Request{Sources: []string{"a"}}, []string{"a"}, "a: left out by .dockerignore"},
		{Request{Sources: []string{"../x"}}, nil, "../x leads out of the build context"},
		{Request{Sources: []string{"/../x"}}, nil, "/../x leads out of the build context"},
		{Request{Sources: []string{"abs"}}, nil, "abs leads to abs, a symlink to " + outer + "/secret: not in the build context, and what is outside of it cannot be copied"},
		{Request{Sources: []string{"to"}}, nil, "to leads to abs, a symlink to " + outer + "/secret: not in the build context, and what is outside of it cannot be copied"},
		{Request{Sources: []string{"rel"}}, nil, "rel leads to rel, a symlink to ../../../../../.." + outer + "/secret: not in the build context, and what is outside of it cannot be copied"},
		{Request{Sources: []string{"absdir/f"}}, nil, "absdir/f leads to absdir, a symlink to " + outer + "/dir: not in the build context, and what is outside of it cannot be copied"},
		{Request{Sources: []string{"loop"}}, nil, "loop: too many symlinks, one after the other"},
		{Request{Sources: []string{"a", "b"}, Dest: "x"}, nil, "several sources need a directory to go to: end it with a slash"},
		{Request{Sources: []string{"."}, DestDir: true}, nil, "s: a socket, which cannot be in an image; leave it out by .dockerignore or --exclude"},
		{Request{Sources: []string{"[a"}, DestDir: true}, nil, "[a: not right as a pattern"},
	} {
		_, err := Select(context.Background(), open(t, dir, tt.ignore...), tt.r)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v\nwant %s", tt.r.Sources, err, tt.want)
		}
	}
	// A pattern that comes upon a symlink out of the tree copies the link itself.
	items, err := Select(context.Background(), open(t, dir), Request{Sources: []string{"d"}, DestDir: true})
	if err != nil || len(items) != 2 || !items[1].IsSymlink() {
		t.Errorf("a directory with a symlink out of the tree: %v, %v", items, err)
	}
}

// TestDirectoryKeepsInside: not even a directory that becomes a symlink leads
// out while it is read.
func TestDirectoryKeepsInside(t *testing.T) {
	outer, dir := t.TempDir(), t.TempDir()
	treeAt(t, outer, "f")
	treeAt(t, dir, "d/f")
	tree := open(t, dir)
	f, err := tree.Lstat("d/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	treeAt(t, dir, "d -> "+outer)
	if c, err := tree.Open(context.Background(), f); err == nil {
		c.Close()
		t.Error("Open went through a symlink")
	}
	if _, err := tree.ReadDir("d"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("ReadDir through a symlink: %v", err)
	}
	if _, err := tree.Lstat("d/f"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Lstat through a symlink: %v", err)
	}
}
