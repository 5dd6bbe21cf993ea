package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ground is the directory of a union in which a rule is tried. Its methods
// end the trial by a panic with a broken, which attempt takes up: what a rule
// finds broken of a control is no failure of the test.
type ground struct {
	*union
	root string // of the rule, relative to the union's

	mu   sync.Mutex
	open []int // closed at the end
}

// A broken says what was asked, got and wanted.
type broken struct{ error }

// attempt gives what a rule finds broken.
func attempt(do func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.error
		default:
			panic(r)
		}
	}()
	do()
	return nil
}

func (g *ground) try(do func(*ground)) error {
	defer g.closeAll()
	return attempt(func() { do(g) })
}

func (g *ground) failf(format string, args ...any) { panic(broken{fmt.Errorf(format, args...)}) }

// p is the path of a name of the rule's, and up that of it in the upper.
func (g *ground) p(name string) string  { return filepath.Join(g.dir, g.root, name) }
func (g *ground) up(name string) string { return filepath.Join(g.upper, g.root, name) }

// ok ends the trial if what has failed.
func (g *ground) ok(err error, what string, args ...any) {
	if err != nil {
		g.failf("%s: %w", fmt.Sprintf(what, args...), err)
	}
}

// fails ends the trial if what has not failed in one of these ways.
func (g *ground) fails(err error, what string, want ...unix.Errno) {
	for _, w := range want {
		if errors.Is(err, error(w)) {
			return
		}
	}
	g.failf("%s: %v, want %v", what, err, want)
}

// eq ends the trial if two values of one type differ.
func (g *ground) eq(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		g.failf("%s: %v, want %v", what, short(got), short(want))
	}
}

func short(v any) string {
	if s, ok := v.(string); ok {
		if len(s) > 80 {
			return fmt.Sprintf("%q… (%d bytes)", s[:80], len(s))
		}
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// fd opens a file until the end of the trial.
func (g *ground) fd(name string, flags int) int {
	fd := g.fdUnkept(name, flags)
	g.later(fd)
	return fd
}

// fdUnkept is fd for who closes it.
func (g *ground) fdUnkept(name string, flags int) int {
	fd, err := unix.Open(g.p(name), flags|unix.O_CLOEXEC, 0o644)
	g.ok(err, "open %s, flags %#x", name, flags)
	return fd
}

func (g *ground) later(fd int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = append(g.open, fd)
}

func (g *ground) closeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, fd := range g.open {
		unix.Close(fd)
	}
	g.open = nil
}

func (g *ground) mmap(fd, size, prot int) []byte {
	m, err := unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED)
	g.ok(err, "mmap")
	return m
}

func (g *ground) read(name string) string {
	b, err := os.ReadFile(g.p(name))
	g.ok(err, "read %s", name)
	return string(b)
}

// write has a file hold data, without making it anew.
func (g *ground) write(name, data string) {
	fd, err := unix.Open(g.p(name), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
	g.ok(err, "open %s to write", name)
	_, err = unix.Write(fd, []byte(data))
	g.ok(err, "write %s", name)
	g.ok(unix.Close(fd), "close %s", name)
}

func (g *ground) pwrite(fd int, data string, off int64) {
	n, err := unix.Pwrite(fd, []byte(data), off)
	g.ok(err, "pwrite")
	g.eq("bytes written", n, len(data))
}

func (g *ground) pread(fd, n int, off int64) string {
	b := make([]byte, n)
	n, err := unix.Pread(fd, b, off)
	g.ok(err, "pread")
	return string(b[:n])
}

func (g *ground) lstat(name string) (st unix.Stat_t) {
	g.ok(unix.Lstat(g.p(name), &st), "lstat %s", name)
	return st
}

func (g *ground) fstat(fd int) (st unix.Stat_t) {
	g.ok(unix.Fstat(fd, &st), "fstat")
	return st
}

func (g *ground) absent(name string) {
	var st unix.Stat_t
	g.fails(unix.Lstat(g.p(name), &st), "lstat "+name, unix.ENOENT)
}

// names lists a directory, sorted.
func (g *ground) names(name string) []string {
	entries, err := os.ReadDir(g.p(name))
	g.ok(err, "readdir %s", name)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (g *ground) getxattr(name, attr string) string {
	b := make([]byte, 4096)
	n, err := unix.Lgetxattr(g.p(name), attr, b)
	g.ok(err, "getxattr %s of %s", attr, name)
	return string(b[:n])
}

func (g *ground) listxattr(name string) []string {
	b := make([]byte, 4096)
	n, err := unix.Llistxattr(g.p(name), b)
	g.ok(err, "listxattr of %s", name)
	names := strings.FieldsFunc(string(b[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	return names
}

func (g *ground) rename(from, to string) {
	g.ok(unix.Rename(g.p(from), g.p(to)), "rename %s to %s", from, to)
}

func (g *ground) rename2(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, g.p(from), unix.AT_FDCWD, g.p(to), flags)
}

// copied reports whether the upper has a name; a plain directory has no upper
// and is as it should be.
func (g *ground) copied(name string, want bool) {
	if g.flavour == plainDir {
		return
	}
	_, err := os.Lstat(g.up(name))
	g.eq(name+" is in the upper", err == nil, want)
}

// remounted mounts the union anew.
func (g *ground) remounted() { g.ok(g.remount(), "remount") }

// as does something as another user with these groups, and no privileges. The
// kernel keeps credentials by thread: this one has its own, and ends with them.
func (g *ground) as(uid, gid int, groups []int, do func()) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends
		done <- attempt(func() {
			g.ok(dropTo(uid, gid, groups), "become user %d", uid)
			do()
		})
	}()
	if err := <-done; err != nil {
		g.failf("as user %d: %w", uid, err)
	}
}

// user is as for one without any rights.
func (g *ground) user(do func()) { g.as(ordinary, ordinary, nil, do) }

// dropTo changes the credentials of the calling thread alone, for which package
// unix has no function: Go's set those of the process.
func dropTo(uid, gid int, groups []int) error {
	list := make([]uint32, len(groups)+1) // never empty, to have an address
	for i, n := range groups {
		list[i] = uint32(n)
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); err != 0 {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); err != 0 {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); err != 0 {
		return err
	}
	return nil
}
