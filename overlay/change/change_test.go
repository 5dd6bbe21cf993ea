package change

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/toc"
	"mica/overlay"
	"mica/overlay/dirs"
	"mica/overlay/tarball"
)

// A file of a test's image is a toc.Entry whose contents are its path.
func contents(e *toc.Entry) tarball.Contents {
	return func(w io.Writer, off, n int64) error {
		_, err := io.WriteString(w, (strings.Repeat(e.Path, int(e.Size)/max(len(e.Path), 1)+1))[off:off+n])
		return err
	}
}

var then = toc.Time{Sec: 1_600_000_000, Nsec: 5}

func entry(typ toc.Type, path string, mode uint16) *toc.Entry {
	e := &toc.Entry{Type: typ, Path: path, Mode: mode, Mtime: then, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	if typ == toc.Regular {
		e.Size = int64(len(path))
	}
	return e
}

func dir(path string) *toc.Entry   { return entry(toc.Dir, path, 0o755) }
func plain(path string) *toc.Entry { return entry(toc.Regular, path, 0o644) }

func link(path, to string) *toc.Entry {
	e := entry(toc.Hardlink, path, 0o644)
	e.Link = to
	return e
}

// a tarFile is a layer in a file.
type tarFile struct {
	*os.File
	size int64
}

func (f tarFile) Size() int64 { return f.size }
func (f tarFile) ID() string  { return f.Name() }

// imageOf gives an image of layers.
func imageOf(t testing.TB, layers ...[]byte) *overlay.View {
	t.Helper()
	var specs []overlay.Layer
	for i, b := range layers {
		path := filepath.Join(t.TempDir(), fmt.Sprint("layer", i))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		specs = append(specs, overlay.Layer{Spec: layerstore.Spec{Blob: tarFile{f, int64(len(b))}}})
	}
	img, err := overlay.OpenImage(context.Background(), layerstore.Open(t.TempDir()), specs, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img.View
}

func tarOf(t testing.TB, entries ...*toc.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tarball.NewWriter(&b)
	for _, e := range entries {
		if err := w.Add(e, contents(e)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An upper is a directory that a test fills as overlayfs would.
type upper struct {
	t     testing.TB
	dir   string
	marks string // prefix of attributes
}

func newUpper(t testing.TB) *upper {
	t.Helper()
	u := &upper{t: t, dir: t.TempDir()}
	f, err := os.Open(u.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	marks, err := dirs.MarksOf(f)
	if err != nil {
		t.Fatal(err)
	}
	u.marks = marks.Prefix + "overlay."
	if err := unix.Setxattr(u.dir, u.marks+"mica.test", []byte("x"), 0); err != nil {
		t.Skipf("attributes on %s: %v", u.dir, err)
	}
	u.like("", dir(""))
	return u
}

func (u *upper) must(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *upper) path(p string) string { return filepath.Join(u.dir, p) }

// like gives a path the metadata of an entry.
func (u *upper) like(p string, e *toc.Entry) {
	u.t.Helper()
	u.must(os.Chmod(u.path(p), os.FileMode(e.Mode)))
	ts := []unix.Timespec{{Sec: e.Mtime.Sec, Nsec: int64(e.Mtime.Nsec)}, {Sec: e.Mtime.Sec, Nsec: int64(e.Mtime.Nsec)}}
	u.must(unix.UtimesNanoAt(unix.AT_FDCWD, u.path(p), ts, unix.AT_SYMLINK_NOFOLLOW))
}

// copyUp makes what the image has there, unchanged.
func (u *upper) copyUp(entries ...*toc.Entry) {
	u.t.Helper()
	for _, e := range entries {
		if e.Type == toc.Dir {
			u.must(os.Mkdir(u.path(e.Path), 0o755))
		} else {
			u.must(os.WriteFile(u.path(e.Path), []byte(e.Path), 0o644))
		}
	}
	for i := len(entries) - 1; i >= 0; i-- {
		u.like(entries[i].Path, entries[i])
	}
}

func (u *upper) set(p, attr, value string) {
	u.t.Helper()
	u.must(unix.Setxattr(u.path(p), u.marks+attr, []byte(value), 0))
}

func (u *upper) whiteout(p string) {
	u.t.Helper()
	u.must(unix.Mknod(u.path(p), unix.S_IFCHR, 0))
	u.like(filepath.Dir(p), dir(""))
}

// open gives the tree over an image.
func (u *upper) open(image *overlay.View) *Tree {
	u.t.Helper()
	f, err := os.Open(u.dir)
	u.must(err)
	marks, err := dirs.MarksOf(f)
	u.must(err)
	tr, err := Open(f, marks, image)
	u.must(err)
	u.t.Cleanup(func() { tr.Close(); f.Close() })
	return tr
}

// changes lists what Walk tells, a line each.
func changes(t testing.TB, tr *Tree) string {
	t.Helper()
	var lines []string
	err := tr.Walk(t.Context(), func(c *Change) error {
		line := fmt.Sprintf("%c /%s", c.Letter(), c.Path)
		if c.What != 0 {
			line += " " + strings.Join(c.What.Words(), ",")
		}
		if c.Link != "" {
			line += " = /" + c.Link
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
