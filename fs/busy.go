package fs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// A BusyError says who keeps a mount from being unmounted.
type BusyError struct {
	Dir   string // as given
	Users []User // empty if nobody could be found, such as another user's processes
}

// A User is one use of a mount by a process, or a mount that lies inside.
type User struct {
	PID  int    // 0 for a mount
	Name string // of the program; "mount" for a mount
	How  string // "cwd", "root", "exe", "mapped"; "" for an open file
	Path string // within Dir, which it begins with
}

func (u User) String() string {
	s := u.Name
	if u.PID != 0 {
		s += fmt.Sprintf("(%d)", u.PID)
	}
	if u.How != "" {
		s += " " + u.How
	}
	return s + " " + u.Path
}

func (e *BusyError) Error() string {
	if len(e.Users) == 0 {
		return e.Dir + ": busy"
	}
	users := make([]string, len(e.Users))
	for i, u := range e.Users {
		users[i] = u.String()
	}
	return fmt.Sprintf("%s: busy: %s", e.Dir, strings.Join(users, ", "))
}

// Code is "busy".
func (e *BusyError) Code() string { return "busy" }

// Hint says how to get rid of the users, or of the mount in spite of them.
func (e *BusyError) Hint() string { return "end them, or mica umount --lazy " + e.Dir }

// maxUsers is how many are named: a message, not a report.
const maxUsers = 8

// usersOf finds who uses the mount at dir by what /proc tells of each process.
// The mount itself is not touched: its server may be the one that asks.
func usersOf(dir string) []User {
	abs, err := realParent(dir)
	if err != nil {
		return nil
	}
	f := finder{dir: dir, abs: abs}
	f.mountsInside()
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		if len(f.found) >= maxUsers {
			break
		}
		f.process(proc)
	}
	return f.found[:min(len(f.found), maxUsers)]
}

type finder struct {
	dir, abs string
	found    []User
}

// inside gives path as the user wrote it if it lies in the mount.
func (f *finder) inside(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, f.abs)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return f.dir + rest, true
}

func (f *finder) mountsInside() {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(f.abs))
	if err != nil {
		return
	}
	for _, m := range infos {
		if path, ok := f.inside(m.Mountpoint); ok && m.Mountpoint != f.abs {
			f.found = append(f.found, User{Name: "mount", Path: path})
		}
	}
}

// process adds one line for each kind of use, and one for each open file.
func (f *finder) process(proc string) {
	pid, err := strconv.Atoi(filepath.Base(proc))
	if err != nil {
		return
	}
	name, _ := os.ReadFile(proc + "/comm")
	add := func(how, target string) bool {
		path, ok := f.inside(target)
		if ok {
			f.found = append(f.found, User{PID: pid, Name: string(bytes.TrimSpace(name)), How: how, Path: path})
		}
		return ok
	}
	for _, how := range []string{"cwd", "root", "exe"} {
		target, _ := os.Readlink(proc + "/" + how)
		add(how, target)
	}
	fds, _ := os.ReadDir(proc + "/fd")
	for _, fd := range fds {
		target, _ := os.Readlink(proc + "/fd/" + fd.Name())
		add("", target)
	}
	maps, _ := os.ReadFile(proc + "/maps")
	for line := range bytes.Lines(maps) {
		// address perms offset dev inode path
		if i := bytes.IndexByte(line, '/'); i >= 0 && add("mapped", string(bytes.TrimRight(line[i:], "\n"))) {
			break
		}
	}
}
