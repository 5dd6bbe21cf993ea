package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A change is one system call or two that change something in a directory,
// which are done or not.
type change struct {
	about string
	do    func(dir string) error
}

// changes start from fullLayers.
var changes = []change{
	{"write to a large file", func(d string) error { return writeAt(d+"/large", 0, fullSize/2) }},
	{"write to a small file", func(d string) error { return writeAt(d+"/small", 0, 3) }},
	{"truncate a large file", func(d string) error { return unix.Truncate(d+"/large", fullSize-1) }},
	{"open with O_TRUNC", func(d string) error { return openClose(d+"/large", unix.O_WRONLY|unix.O_TRUNC) }},
	{"chmod", func(d string) error { return unix.Chmod(d+"/large", 0o600) }},
	{"chown", func(d string) error { return unix.Lchown(d+"/link", 7, 7) }},
	{"utimes", func(d string) error { return unix.UtimesNano(d+"/small", someTimes) }},
	{"chmod of a directory", func(d string) error { return unix.Chmod(d+"/sub/sub", 0o700) }},
	{"setxattr", func(d string) error {
		return unix.Setxattr(d+"/small", "user.new", []byte(strings.Repeat("v", 900)), 0)
	}},
	{"create", func(d string) error { return openClose(d+"/sub/new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL) }},
	{"mkdir", func(d string) error { return unix.Mkdir(d+"/sub/new", 0o755) }},
	{"symlink", func(d string) error { return unix.Symlink(strings.Repeat("t", 200), d+"/sub/new") }},
	{"mknod", func(d string) error { return unix.Mknod(d+"/sub/new", unix.S_IFIFO|0o600, 0) }},
	{"link", func(d string) error { return unix.Link(d+"/large", d+"/sub/new") }},
	{"unlink", func(d string) error { return unix.Unlink(d + "/large") }},
	{"unlink of one of two", func(d string) error { return unix.Unlink(d + "/two") }},
	{"unlink of a symlink", func(d string) error { return unix.Unlink(d + "/link") }},
	{"rmdir", func(d string) error { return unix.Rmdir(d + "/empty") }},
	{"rename", func(d string) error { return unix.Rename(d+"/large", d+"/sub/new") }},
	{"rename over another", func(d string) error { return unix.Rename(d+"/large", d+"/small") }},
	{"rename of a directory", func(d string) error { return unix.Rename(d+"/sub", d+"/new") }},
	{"rename over a directory", func(d string) error { return unix.Rename(d+"/sub", d+"/empty") }},
	{"exchange", func(d string) error {
		return unix.Renameat2(unix.AT_FDCWD, d+"/large", unix.AT_FDCWD, d+"/sub", unix.RENAME_EXCHANGE)
	}},
	{"tmpfile", func(d string) error { return openClose(d+"/sub", unix.O_TMPFILE|unix.O_RDWR) }},
}

// fullSize is large enough for a copy to be cut short.
const fullSize = 200_000

func fullLayers() [][]entry {
	var l []entry
	for i := range changes {
		for _, e := range []entry{
			dir("."), file("large", string(noise(fullSize))), file("small", "small").xattr("user.old", "1"), symlink("link", "small"),
			file("one", "of two"), hardlink("two", "one"), dir("empty"), dir("sub"), dir("sub/sub"), file("sub/file", "file"),
		} {
			l = append(l, e.in(changeDir(i)))
		}
	}
	return one(l...)
}

func changeDir(i int) string { return fmt.Sprint("change", i) }

func writeAt(path string, off int64, n int) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Pwrite(fd, []byte(strings.Repeat("w", n)), off)
	return errors.Join(err, unix.Fsync(fd), unix.Close(fd))
}

func openClose(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// fullTrees are what there is before and after all changes.
func fullTrees(t *testing.T) (before, after tree) {
	u := newUnion(t, plainDir, fullLayers()...)
	before = mustReadTree(t, u.dir)
	for i, c := range changes {
		if err := c.do(filepath.Join(u.dir, changeDir(i))); err != nil {
			t.Fatalf("%s: %v", c.about, err)
		}
	}
	return before, mustReadTree(t, u.dir)
}

// TestFull has an upper run full before each change, or its quota run out, so that
// it is cut short at another place each time. What fails has changed nothing, and
// is done when there is room again.
func TestFull(t *testing.T) {
	needRoot(t)
	before, after := fullTrees(t)
	for _, f := range flavours() {
		kinds := []string{"tmpfs", "ext4"}
		if _, err := exec.LookPath("mkfs.btrfs"); err == nil && f.isMica() {
			kinds = append(kinds, "btrfs") // whose limits are not those of the disk: EDQUOT
		}
		for _, kind := range kinds {
			t.Run(string(f)+" on "+kind, func(t *testing.T) {
				t.Parallel()
				failed := 0
				for _, left := range []int64{0, 1, 3, 20, 49} {
					t.Run(fmt.Sprint(left), func(t *testing.T) {
						v := newVolume(t, kind)
						v.want = [2]tree{before, after}
						failed += v.testFull(t, f, left)
					})
				}
				t.Logf("%d changes failed for want of space", failed)
				if f != plainDir && failed == 0 {
					t.Error("nothing failed for want of space")
				}
			})
		}
	}
}

func (v *volume) testFull(t *testing.T, f flavour, left int64) (failed int) {
	u, err := unionIn(v.h, v.dir, f, fullLayers()...)
	if err != nil {
		t.Fatal(err)
	}
	done := map[int]bool{}
	for i, c := range changes {
		if err := v.leave(left); err != nil {
			t.Fatal(err)
		}
		err := c.do(filepath.Join(u.dir, changeDir(i)))
		if err != nil && !errors.Is(err, v.full) {
			t.Errorf("%s: %v, want %v", c.about, err, v.full)
		}
		if done[i] = err == nil; !done[i] {
			failed++
		}
	}
	if err := os.Remove(v.ballast); err != nil {
		t.Fatal(err)
	}
	// Every other time there is a retry without a remount before it.
	if left%2 == 0 {
		if err := u.remount(); err != nil {
			t.Fatal(err)
		}
		v.compare(t, u, done)
	}
	v.retry(t, u, done)
	return failed
}

// retry does what has failed: now there is nothing in its way.
func (v *volume) retry(t *testing.T, u *union, done map[int]bool) {
	t.Helper()
	for i, c := range changes {
		if done[i] {
			continue
		}
		done[i] = true
		if err := c.do(filepath.Join(u.dir, changeDir(i))); err != nil {
			t.Errorf("%s, once more: %v", c.about, err)
		}
	}
	v.compare(t, u, done)
	if err := u.remount(); err != nil {
		t.Fatal(err)
	}
	v.compare(t, u, done)
}

// compare tells which changes are not there as they have been done or have not.
func (v *volume) compare(t *testing.T, u *union, done map[int]bool) {
	t.Helper()
	all := mustReadTree(t, u.dir)
	for i, c := range changes {
		want := v.want[0]
		if done[i] {
			want = v.want[1]
		}
		if err := compare(withoutTimes(want.byDir()[changeDir(i)]), withoutTimes(all.byDir()[changeDir(i)])); err != nil {
			t.Errorf("%s, done %v: %v\n%s", c.about, done[i], err, u.complaints())
		}
	}
}

func withoutTimes(tr tree) tree {
	for p, n := range tr {
		if n.Mtime.Sec != someTimes[1].Sec {
			n.Mtime = unix.Timespec{}
			tr[p] = n
		}
	}
	return tr
}

// TestGoneReadOnly has the upper's filesystem take no more changes, as after an
// error of its disk: that is told, and nothing else is seen of it.
func TestGoneReadOnly(t *testing.T) {
	needRoot(t)
	before, after := fullTrees(t)
	for _, f := range flavours() {
		t.Run(string(f), func(t *testing.T) {
			v := newVolume(t, "ext4")
			v.want = [2]tree{before, after}
			u, err := unionIn(v.h, v.dir, f, fullLayers()...)
			if err != nil {
				t.Fatal(err)
			}
			run(t, v.h.dir, "mount", "-o", "remount,abort", v.dir)
			for i, c := range changes {
				if err := c.do(filepath.Join(u.dir, changeDir(i))); !errors.Is(err, unix.EROFS) {
					t.Errorf("%s: %v, want EROFS", c.about, err)
				}
			}
			if f.isMica() {
				// What a write has left in the page cache stays there until the
				// kernel needs room: that of FUSE takes it without asking.
				for i := range changes {
					forgetPages(t, filepath.Join(u.dir, changeDir(i)))
				}
			}
			v.compare(t, u, nil)
		})
	}
}

// forgetPages has the kernel drop what it keeps of the files that are written to.
func forgetPages(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"large", "small"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A volume is a small filesystem for an upper, with a file that fills it.
type volume struct {
	h            *host
	dir, ballast string
	want         [2]tree    // before a change, and after it
	full         unix.Errno // what is said when there is no room
}

func newVolume(t *testing.T, kind string) *volume {
	t.Helper()
	h := newHost(t)
	v := &volume{h: h, dir: filepath.Join(h.dir, "v"), full: unix.ENOSPC}
	v.ballast = filepath.Join(v.dir, "ballast")
	if err := os.Mkdir(v.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if kind == "tmpfs" {
		if err := unix.Mount("tmpfs", v.dir, "tmpfs", 0, "size=32M,mode=755"); err != nil {
			t.Fatal(err)
		}
		return v
	}
	_, err := os.Stat("/dev/loop-control")
	need(t, err == nil, "loop devices")
	img := filepath.Join(h.dir, "v.img")
	if err := errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, 32<<20)); err != nil {
		t.Fatal(err)
	}
	if kind == "btrfs" {
		v.full = unix.EDQUOT
		must(os.Truncate(img, 128<<20))
		run(t, h.dir, "mkfs.btrfs", "-q", img)
		run(t, h.dir, "mount", "-o", "loop", img, v.dir)
		run(t, h.dir, "btrfs", "quota", "enable", v.dir)
		run(t, h.dir, "btrfs", "qgroup", "limit", "24M", v.dir)
		return v
	}
	run(t, h.dir, "mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", img)
	run(t, h.dir, "mount", "-o", "loop", img, v.dir)
	return v
}

// leave fills the volume but for this many blocks.
func (v *volume) leave(blocks int64) error {
	const block = 4096
	f, err := os.Create(v.ballast)
	if err != nil {
		return err
	}
	off := int64(0)
	for size := int64(16 << 20); size >= block; size /= 2 {
		for unix.Fallocate(int(f.Fd()), 0, off, size) == nil {
			off += size
		}
	}
	return errors.Join(f.Truncate(max(0, off-blocks*block)), f.Close())
}
