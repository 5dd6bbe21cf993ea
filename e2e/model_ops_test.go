package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A modelOp is one system call or two, on paths relative to an actor's
// directory and on descriptors by their slots. What a kind has no use for is zero.
type modelOp struct {
	kind        string
	slot, other int
	path, to    string
	flags       int
	mode        uint32
	off         int64
	n           int
}

func (o modelOp) String() string {
	return fmt.Sprintf("%s slot %d,%d %q %q flags %#x mode %#o off %d n %d", o.kind, o.slot, o.other, o.path, o.to, o.flags, o.mode, o.off, o.n)
}

// modelKinds are the kinds of operations, each as often as it is to come.
var modelKinds = slices.Concat(
	slices.Repeat([]string{"open"}, 10),
	slices.Repeat([]string{"pwrite", "pread", "rename", "stat", "mkdir"}, 4),
	slices.Repeat([]string{"link", "mmap", "readdir", "rmdir", "setxattr", "read", "truncate", "unlink"}, 2),
	[]string{"append", "chmod", "chown", "close", "copy", "fchmod", "fstat", "fsync", "ftruncate", "linkfd", "listxattr", "mknod",
		"punch", "readlink", "removexattr", "symlink", "syncfs", "tmpfile", "tmpfile", "utimes"})

// slots are few, for most operations to find an open file in theirs.
const slots = 3

var openFlags = []int{unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY, unix.O_RDWR | unix.O_CREAT, unix.O_RDWR | unix.O_CREAT | unix.O_EXCL,
	unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, unix.O_RDWR | unix.O_TRUNC, unix.O_RDONLY | unix.O_NOFOLLOW, unix.O_RDWR | unix.O_APPEND, unix.O_RDONLY | unix.O_DIRECTORY,
	unix.O_WRONLY | unix.O_TRUNC}

func randomOp(r *rand.Rand) modelOp {
	kind := modelKinds[r.IntN(len(modelKinds))]
	if r.IntN(300) == 0 {
		kind = "removeall" // after which the others find little
	}
	return modelOp{
		kind: kind,
		slot: r.IntN(slots), other: r.IntN(slots),
		path: modelPath(r), to: modelPath(r),
		flags: r.IntN(1 << 10),
		mode:  []uint32{0o644, 0o755, 0o600, 0o4755, 0o2775, 0o1777, 0o400, 0o777}[r.IntN(8)],
		off:   []int64{0, 1, 100, 4095, 4096, 8192, 70_000, 131_072}[r.IntN(8)] + int64(r.IntN(3)),
		n:     []int{0, 1, 7, 100, 4096, 5000, 40_000}[r.IntN(7)],
	}
}

// modelPath is mostly below c and e, which are directories at first.
func modelPath(r *rand.Rand) string {
	p := ""
	for range r.IntN(3) {
		p = path.Join(p, string("ccccceeeabd"[r.IntN(11)]))
	}
	return path.Join(p, string(rune('a'+r.IntN(5))))
}

// An actor does operations in a directory, of which it keeps the descriptors.
type actor struct {
	root string
	fds  [slots]int
}

func newActor(root string) *actor {
	a := &actor{root: root}
	for i := range a.fds {
		a.fds[i] = -1
	}
	return a
}

func (a *actor) p(name string) string { return filepath.Join(a.root, name) }

func (a *actor) close(slot int) error {
	fd := a.fds[slot]
	a.fds[slot] = -1
	return unix.Close(fd)
}

func (a *actor) closeAll() {
	for i := range a.fds {
		if a.fds[i] >= 0 {
			a.close(i)
		}
	}
}

func (a *actor) put(slot, fd int, err error) error {
	if err == nil {
		if a.fds[slot] >= 0 {
			a.close(slot)
		}
		a.fds[slot] = fd
	}
	return err
}

// readOnly reports whether a slot has a descriptor that only reads.
func (a *actor) readOnly(slot int) bool {
	flags, err := unix.FcntlInt(uintptr(a.fds[slot]), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY
}

// do gives all of an operation's result that is the same on any filesystem.
func (a *actor) do(o modelOp) string {
	result, err := a.try(o)
	if err == nil {
		return "ok " + result
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	if errno == unix.EEXIST && strings.HasPrefix(o.kind, "r") {
		errno = unix.ENOTEMPTY // rename(2) and rmdir(2): either
	}
	return unix.ErrnoName(errno)
}

func (a *actor) try(o modelOp) (result string, err error) {
	p, fd := a.p(o.path), a.fds[o.slot]
	switch o.kind {
	case "open":
		// Never waiting for the other end of a fifo.
		fd, err = unix.Open(p, openFlags[o.flags%len(openFlags)]|unix.O_NONBLOCK|unix.O_CLOEXEC, o.mode&0o777)
		err = a.put(o.slot, fd, err)
	case "close":
		if fd >= 0 {
			err = a.close(o.slot)
		}
	case "save":
		if fd >= 0 {
			_, err = unix.Pwrite(fd, []byte(strings.Repeat(string(rune('A'+o.flags%26)), o.n)), o.off)
			err = errors.Join(err, a.close(o.slot))
		}
	case "tmpfile":
		fd, err = unix.Open(filepath.Dir(p), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, o.mode&0o777)
		err = a.put(o.slot, fd, err)
	case "linkfd":
		err = unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, p, unix.AT_SYMLINK_FOLLOW)
	case "rename":
		err = unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, a.p(o.to), []uint{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[o.flags%4])
	case "unlink":
		err = unix.Unlink(p)
	case "link":
		err = unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, a.p(o.to), 0)
	case "mkdir":
		err = unix.Mkdir(p, o.mode)
	case "rmdir":
		err = unix.Rmdir(p)
	case "removeall":
		var st unix.Stat_t
		if unix.Stat(filepath.Dir(p), &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			break // a fifo would block: it opens what holds the name
		}
		os.RemoveAll(p) // which of several errors it gives depends on the order of names
	case "mknod":
		err = unix.Mknod(p, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG}[o.flags%3]|o.mode&0o777, 0)
	case "symlink":
		err = unix.Symlink([]string{"a", "b/c", "../a", "none"}[o.flags%4], p)
	case "readlink":
		result, err = os.Readlink(p)
	case "truncate":
		var st unix.Stat_t
		// Whether the times move if it has that size is the filesystem's choice
		// (truncate(2)). An error is that of truncate, or that nobody serves the
		// mount any more, which truncate does not find out about a directory.
		if err = unix.Stat(p, &st); err == nil && st.Size != o.off {
			err = unix.Truncate(p, o.off)
		}
	case "chmod":
		err = unix.Chmod(p, o.mode)
	case "chown":
		err = unix.Lchown(p, 60_000+o.n, 60_000+o.n%7)
	case "utimes":
		ts := unix.Timespec{Sec: 1_000_000_000 + o.off, Nsec: int64(o.n)}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	case "setxattr":
		err = unix.Lsetxattr(p, a.attr(o), fmt.Append(nil, o.off), o.flags/4%3)
	case "removexattr":
		err = unix.Lremovexattr(p, a.attr(o))
	case "listxattr":
		result, err = xattrs(p)
	case "stat":
		var st unix.Stat_t
		err = unix.Lstat(p, &st)
		result = modelStat(st)
	case "readdir":
		var entries []os.DirEntry
		entries, err = os.ReadDir(p)
		result = fmt.Sprint(entries)
	case "read":
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			break // a fifo would block
		}
		var b []byte
		b, err = os.ReadFile(p)
		result = modelSum(b)
	default:
		return a.tryFD(o, fd)
	}
	return result, err
}

// tryFD is try of what is done with a descriptor alone.
func (a *actor) tryFD(o modelOp, fd int) (result string, err error) {
	n := o.n
	data := []byte(strings.Repeat(string(rune('A'+o.flags%26)), o.n))
	switch o.kind {
	case "pwrite":
		n, err = unix.Pwrite(fd, data, o.off)
	case "append":
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			break // filesystems differ on the end of a directory
		}
		if _, err = unix.Seek(fd, 0, unix.SEEK_END); err == nil {
			n, err = unix.Write(fd, data)
		}
	case "pread":
		b := make([]byte, o.n)
		n, err = unix.Pread(fd, b, o.off)
		return modelSum(b[:max(n, 0)]), err
	case "ftruncate":
		err = unix.Ftruncate(fd, o.off)
	case "fchmod":
		err = unix.Fchmod(fd, o.mode)
	case "fsync":
		err = unix.Fsync(fd)
	case "syncfs":
		err = unix.Syncfs(fd)
	case "punch":
		err = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, o.off, int64(o.n))
	case "fstat":
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		return modelStat(st), err
	case "mmap":
		return "", modelMmap(fd, o)
	case "copy":
		return a.copyRange(fd, a.fds[o.other], o)
	default:
		panic("operation " + o.kind)
	}
	return fmt.Sprint(n), err
}

// copyRange copies until there is nothing left: a call may copy less than it
// could, as where a signal comes.
func (a *actor) copyRange(from, to int, o modelOp) (string, error) {
	fromOff, toOff, copied := o.off, int64(o.flags), 0
	for {
		n, err := unix.CopyFileRange(from, &fromOff, to, &toOff, o.n-copied, 0)
		if copied += max(n, 0); n <= 0 || copied == o.n {
			return fmt.Sprint(copied), err
		}
	}
}

// attr names one of a few attributes, among them one that only root sees.
func (a *actor) attr(o modelOp) string {
	return []string{"user.a", "user.b", "trusted.c"}[o.n%3]
}

// modelMmap changes a byte by a mapping, where the file has one.
func modelMmap(fd int, o modelOp) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 {
		return nil
	}
	m, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	m[o.off%st.Size] = byte('0' + o.flags%10)
	return unix.Munmap(m)
}

// modelStat tells what is the same anywhere: not the size of a directory, nor
// how many links it has.
func modelStat(st unix.Stat_t) string {
	s := fmt.Sprintf("mode %#o owner %d:%d", st.Mode, st.Uid, st.Gid)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		s += fmt.Sprintf(" size %d links %d", st.Size, st.Nlink)
	}
	return s
}

func modelSum(b []byte) string {
	sum := uint32(2166136261) // FNV-1a
	for _, c := range b {
		sum = (sum ^ uint32(c)) * 16777619
	}
	return fmt.Sprintf("%d bytes, sum %08x", len(b), sum)
}
