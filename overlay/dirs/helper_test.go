package dirs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// A layer is made of lines:
//
//	dir/                a directory, like all that lead to a name
//	name = contents     a regular file
//	name -> target      a symlink
//	name => other       a hard link to another name of the layer
//	! name              a whiteout, a character device for root
//	!x name             a whiteout that is a file with an attribute
//	@ name attr value   an attribute; one that begins with "overlay." is a mark
type layer string

// marks are those that the tests' user can set.
func marks() ondisk.Marks {
	if seesTrusted() {
		return ondisk.Trusted
	}
	return ondisk.User
}

func needRoot(t *testing.T) {
	t.Helper()
	if !seesTrusted() {
		if os.Getenv("MICA_TEST_STRICT") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
}

// make puts a layer into a directory.
func (l layer) make(t *testing.T, root string) {
	t.Helper()
	for line := range strings.Lines(string(l)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := put(root, line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func put(root, line string) error {
	words := strings.Fields(line)
	name, at := words[0], ""
	if name[0] == '!' || name == "@" {
		at = words[1]
	} else {
		at = name
	}
	path := filepath.Join(root, at)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch {
	case name == "!" && seesTrusted():
		return unix.Mknod(path, unix.S_IFCHR, 0)
	case name == "!" || name == "!x":
		dir := filepath.Dir(path)
		return errors.Join(os.WriteFile(path, nil, 0o644),
			unix.Lsetxattr(path, marks().Prefix+"overlay.whiteout", nil, 0),
			unix.Lsetxattr(dir, marks().Prefix+"overlay.opaque", []byte("x"), 0))
	case name == "@":
		attr := words[2]
		if strings.HasPrefix(attr, "overlay.") {
			attr = marks().Prefix + attr
		}
		return unix.Lsetxattr(path, attr, []byte(words[3]), 0)
	case strings.HasSuffix(name, "/"):
		return os.MkdirAll(path, 0o755)
	}
	switch words[1] {
	case "->":
		return os.Symlink(words[2], path)
	case "=>":
		return os.Link(filepath.Join(root, words[2]), path)
	}
	_, data, _ := strings.Cut(line, " = ")
	return os.WriteFile(path, []byte(data), 0o644)
}

// made makes layers, topmost first, and opens them.
func made(t *testing.T, layers ...layer) []Layer {
	t.Helper()
	var open []Layer
	for i, l := range layers {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		l.make(t, dir)
		open = append(open, opened(t, dir))
	}
	return open
}

func opened(t *testing.T, dir string) Layer {
	t.Helper()
	f, _, err := OpenLayer(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Layer{Dir: f, Name: filepath.Base(dir), Marks: marks()}
}

func union(t *testing.T, layers []Layer) *Union {
	t.Helper()
	u, err := New(layers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// node finds a path in a union.
func node(t *testing.T, u *Union, path string) overlay.Attr {
	t.Helper()
	a, err := walk(u, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

func walk(u *Union, path string) (overlay.Attr, error) {
	a, err := u.Attr(overlay.Root)
	for name := range strings.SplitSeq(path, "/") {
		if err != nil {
			break
		}
		if name != "" {
			a, err = u.Lookup(a.ID, name)
		}
	}
	return a, err
}

// contents reads a file.
func contents(u *Union, id overlay.NodeID) (string, error) {
	buf := make([]byte, 1<<16)
	n, err := u.ReadAt(context.Background(), id, buf, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	return string(buf[:n]), nil
}

// shown lists all of a union: names of directories with a slash, files with
// contents, symlinks with their targets. It fails the test where ReadDir, Lookup,
// Attr and Parent do not agree.
func shown(t *testing.T, u *Union) string {
	t.Helper()
	var b strings.Builder
	show(t, u, &b, overlay.Root, "")
	return b.String()
}

func show(t *testing.T, u *Union, b *strings.Builder, dir overlay.NodeID, path string) {
	t.Helper()
	err := u.ReadDir(dir, 0, func(name string, a overlay.Attr, _ uint64) bool {
		found, err := u.Lookup(dir, name)
		if err != nil || found != a {
			t.Errorf("%s: Lookup = %+v, %v; ReadDir %+v", path+name, found, err, a)
		}
		if again, err := u.Attr(a.ID); err != nil || again != a {
			t.Errorf("%s: Attr = %+v, %v; ReadDir %+v", path+name, again, err, a)
		}
		switch a.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			fmt.Fprintf(b, "%s/\n", path+name)
			if up, err := u.Parent(a.ID); err != nil || up != dir {
				t.Errorf("%s: Parent = %d, %v; want %d", path+name, up, err, dir)
			}
			if p, err := u.Path(a.ID); err != nil || p != "/"+path+name {
				t.Errorf("%s: Path = %q, %v", path+name, p, err)
			}
			show(t, u, b, a.ID, path+name+"/")
		case unix.S_IFLNK:
			target, err := u.Readlink(a.ID)
			fmt.Fprintf(b, "%s -> %s%s\n", path+name, target, told(err))
		case unix.S_IFREG:
			data, err := contents(u, a.ID)
			fmt.Fprintf(b, "%s = %s%s\n", path+name, data, told(err))
		default:
			fmt.Fprintf(b, "%s %o\n", path+name, a.Mode)
		}
		return true
	})
	if err != nil {
		fmt.Fprintf(b, "%s/%s\n", path, told(err))
	}
}

func told(err error) string {
	var num unix.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &num):
		return "(" + unix.ErrnoName(num) + ")"
	case errors.Is(err, iofs.ErrNotExist):
		return "(absent)"
	}
	return "(" + err.Error() + ")"
}
