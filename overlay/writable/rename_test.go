package writable_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/writable"
)

// TestRenameOverDirectoryFails has a rename over a directory fail after that has
// made way: it is the same as before, with its whiteouts.
func TestRenameOverDirectoryFails(t *testing.T) {
	l := newLinked(t)
	l.open(false)
	defer func() { l.close() }()
	from, err := l.v.Mkdir(overlay.Root, "from", 0o755, writable.Caller{})
	l.must(err)
	_, err = l.v.Mkdir(from.ID, "d", 0o755, writable.Caller{})
	l.must(err)
	target, err := l.v.Lookup(overlay.Root, "b")
	l.must(err)
	l.must(l.v.Unlink(target.ID, "two", writable.Caller{}))
	l.must(l.v.SetXattr(target.ID, "user.of", []byte("b"), 0, false, writable.Caller{}))
	mode := uint32(0o1750)
	before, err := l.v.SetAttr(target.ID, writable.Change{Mode: &mode})
	l.must(err)
	dir := filepath.Join(l.upper, "from")
	if err := setImmutable(dir, true); err != nil {
		t.Skipf("needs a file system with immutable directories: %v", err)
	}
	defer setImmutable(dir, false)
	if err := l.v.Rename(from.ID, "d", overlay.Root, "b", 0, writable.Caller{}); err != unix.EPERM {
		t.Fatalf("rename out of an immutable directory: %v", err)
	}
	check := func() {
		t.Helper()
		now, err := l.v.Lookup(overlay.Root, "b")
		l.must(err)
		if now.ID != before.ID || now.Mode != before.Mode || now.Mtime != before.Mtime {
			t.Errorf("b is %+v, want %+v", now, before)
		}
		if x, err := l.v.Xattr(now.ID, "user.of"); string(x) != "b" {
			t.Errorf("attribute %q, %v", x, err)
		}
		if a, err := l.v.Lookup(now.ID, "two"); err == nil {
			t.Errorf("a deleted name is there: %+v", a)
		}
	}
	check()
	l.must(setImmutable(dir, false))
	l.close()
	l.open(false)
	check()
	from, err = l.v.Lookup(overlay.Root, "from")
	l.must(err)
	l.must(l.v.Rename(from.ID, "d", overlay.Root, "b", 0, writable.Caller{}))
	if names, err := os.ReadDir(filepath.Join(l.root, "work/mica/orphans")); len(names) != 1 {
		// The kernel was told of what was replaced, and has not forgotten it.
		t.Errorf("orphans: %v %v, want the directory that was replaced", names, err)
	}
}
