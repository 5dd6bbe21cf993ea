package writable_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/dirs"
	"mica/overlay/writable"
)

// A linked is a lower with one file under the names a/one, b/two and c/three, and
// an upper over it.
type linked struct {
	t          *testing.T
	root       string
	lower      *dirs.Union
	v          *writable.View
	close      func()
	upper, old string // directories
}

var linkedNames = []string{"a/one", "b/two", "c/three"}

func newLinked(t *testing.T) *linked {
	t.Helper()
	l := &linked{t: t, root: t.TempDir()}
	l.old, l.upper = filepath.Join(l.root, "lower"), filepath.Join(l.root, "upper")
	for _, d := range []string{l.upper, filepath.Join(l.root, "work"), filepath.Join(l.old, "a"), filepath.Join(l.old, "b"), filepath.Join(l.old, "c")} {
		l.must(os.MkdirAll(d, 0o755))
	}
	l.must(os.WriteFile(filepath.Join(l.old, linkedNames[0]), []byte("lower"), 0o644))
	for _, name := range linkedNames[1:] {
		l.must(os.Link(filepath.Join(l.old, linkedNames[0]), filepath.Join(l.old, name)))
	}
	f, _, err := dirs.OpenLayer(l.old)
	l.must(err)
	t.Cleanup(func() { f.Close() })
	marks, err := dirs.MarksOf(f)
	l.must(err)
	l.lower, err = dirs.New([]dirs.Layer{{Dir: f, Name: l.old, Marks: marks}})
	l.must(err)
	t.Cleanup(func() { l.must(l.lower.Close()) })
	return l
}

func (l *linked) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// open opens the upper as the next server does.
func (l *linked) open(takeover bool) {
	l.t.Helper()
	d, err := writable.OpenDirs(l.upper, filepath.Join(l.root, "work"))
	l.must(err)
	l.v, err = writable.Open(l.lower, d, takeover)
	l.must(err)
	l.must(l.v.Start(context.Background()))
	l.close = func() { l.must(errors.Join(l.v.Close(), d.Close())) }
}

func (l *linked) lookup(name string) overlay.Attr {
	l.t.Helper()
	d, err := l.v.Lookup(overlay.Root, filepath.Dir(name))
	l.must(err)
	a, err := l.v.Lookup(d.ID, filepath.Base(name))
	l.must(err)
	return a
}

// inode gives a name's in the upper, 0 if it has none there.
func (l *linked) inode(name string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(filepath.Join(l.upper, name), &st) != nil {
		return 0
	}
	return st.Ino
}

// want checks that all names are one file of the upper.
func (l *linked) want(text string) {
	l.t.Helper()
	for _, name := range linkedNames {
		b, err := os.ReadFile(filepath.Join(l.upper, name))
		if string(b) != text || l.inode(name) != l.inode(linkedNames[0]) {
			l.t.Errorf("upper %s: %q, inode %d, %v; want %q, inode %d", name, b, l.inode(name), err, text, l.inode(linkedNames[0]))
		}
		if a := l.lookup(name); a.Nlink != uint32(len(linkedNames)) {
			l.t.Errorf("%s has %d links, want %d", name, a.Nlink, len(linkedNames))
		}
	}
	left, err := filepath.Glob(filepath.Join(l.root, "work/*/copy-*"))
	if err != nil || len(left) > 0 {
		l.t.Errorf("left in the work directory: %v %v", left, err)
	}
}

// TestUnfinishedCopy has a server die when a copy has one of its three names: the
// next one, of this mount or of another, gives it the others.
func TestUnfinishedCopy(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		t.Run(fmt.Sprint("takeover ", takeover), func(t *testing.T) {
			l := newLinked(t)
			l.open(false)
			a := l.lookup(linkedNames[0])
			l.must(l.v.WriteAt(a.ID, []byte("upper"), 0, false))
			l.close()
			// As it was before the second name.
			l.must(os.Link(filepath.Join(l.upper, linkedNames[0]), filepath.Join(l.root, "work/mica", fmt.Sprintf("copy-%x-7", uint64(a.ID)))))
			for _, name := range linkedNames[1:] {
				l.must(os.Remove(filepath.Join(l.upper, name)))
			}
			l.open(takeover)
			defer l.close()
			l.want("upper")
		})
	}
}

// TestUnfinishedForWantOfSpace has a directory take no name when the copy is to
// get its names: the others are it all the same, and it is tried again.
func TestUnfinishedForWantOfSpace(t *testing.T) {
	for _, full := range linkedNames {
		t.Run(filepath.Dir(full), func(t *testing.T) {
			l := newLinked(t)
			l.open(false)
			defer func() { l.close() }()
			dir := filepath.Join(l.upper, filepath.Dir(full))
			d, err := l.v.Lookup(overlay.Root, filepath.Dir(full))
			l.must(err)
			mode := uint32(0o755)
			_, err = l.v.SetAttr(d.ID, writable.Change{Mode: &mode}) // so that it is there
			l.must(err)
			if err := setImmutable(dir, true); err != nil {
				t.Skipf("needs a file system with immutable directories: %v", err)
			}
			defer setImmutable(dir, false)
			a := l.lookup(linkedNames[0])
			if err := l.v.WriteAt(a.ID, []byte("upper"), 0, false); err != nil {
				// It was the first name: then nothing has been done.
				l.must(setImmutable(dir, false))
				l.must(l.v.WriteAt(a.ID, []byte("upper"), 0, false))
				l.want("upper")
				return
			}
			for range 3 { // to be forgotten as often as it was looked up
				for _, name := range linkedNames {
					if a := l.lookup(name); a.Size != 5 {
						t.Errorf("%s has %d bytes", name, a.Size)
					}
					b := make([]byte, 9)
					n, _ := l.v.ReadAt(context.Background(), a.ID, b, 0)
					if string(b[:n]) != "upper" {
						t.Errorf("%s: %q", name, b[:n])
					}
					l.v.Forget(a.ID, 1)
				}
				l.v.Forget(a.ID, 1)
			}
			l.must(setImmutable(dir, false))
			l.close()
			l.open(false)
			l.want("upper")
		})
	}
}

func setImmutable(dir string, on bool) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const immutable = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	flags &^= immutable
	if on {
		flags |= immutable
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}

// TestLinksOfUnknownDirectories has the upper hold the directories of the names
// from an earlier mount, and nobody look into them: a copy gets all its names.
func TestLinksOfUnknownDirectories(t *testing.T) {
	l := newLinked(t)
	l.open(false)
	mode := uint32(0o700)
	for _, name := range linkedNames[1:] {
		d, err := l.v.Lookup(overlay.Root, filepath.Dir(name))
		l.must(err)
		_, err = l.v.SetAttr(d.ID, writable.Change{Mode: &mode})
		l.must(err)
	}
	l.close()
	l.open(false)
	defer l.close()
	a := l.lookup(linkedNames[0])
	if a.Nlink != 3 {
		t.Errorf("%d links before the copy, want 3", a.Nlink)
	}
	l.must(l.v.WriteAt(a.ID, []byte("upper"), 0, false))
	l.want("upper")
}
