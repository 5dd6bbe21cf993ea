package dirs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay/ondisk"
)

// OpenLayer opens a directory as a layer. Where that is allowed (CAP_SYS_ADMIN),
// what is opened is a mount of its own without those that lie in it, as
// overlayfs takes it: then nothing that is mounted there, now or later, is seen.
// inside reports whether that is so.
func OpenLayer(path string) (f *os.File, inside bool, err error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == nil {
		f = os.NewFile(uintptr(fd), path)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			f.Close()
			return nil, false, &os.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
		}
		return f, true, nil
	}
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.EACCES {
		return nil, false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	fd, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), false, nil
}

// MarksOf gives the marks that count in a layer: trusted.* where this process
// can see them and the file system can hold them, else user.*.
func MarksOf(dir *os.File) (ondisk.Marks, error) {
	if !seesTrusted() {
		return ondisk.User, nil
	}
	holds, err := ondisk.Holds(int(dir.Fd()), ondisk.Trusted.Prefix+"overlay.opaque")
	if err != nil {
		return ondisk.Marks{}, fmt.Errorf("%s: %w", dir.Name(), err)
	}
	if holds {
		return ondisk.Trusted, nil
	}
	return ondisk.User, nil
}

// seesTrusted reports whether this process has CAP_SYS_ADMIN where it counts for
// trusted.*: outside of any user namespace.
func seesTrusted() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295" {
		return false
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// Within reports whether a directory lies in another or is that, whatever links
// lead to it.
func Within(dir, outer string) (bool, error) {
	o, err := os.Stat(outer)
	if err != nil {
		return false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	for {
		st, err := os.Stat(dir)
		if err != nil {
			return false, err
		}
		if os.SameFile(st, o) {
			return true, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false, nil
		}
		dir = up
	}
}

// Nested gives two of some directories of which one lies within the other on one
// file system; "" if there are none. One may be there twice.
func Nested(paths []string) (inner, outer string, err error) {
	type inode struct{ dev, ino uint64 }
	roots := map[inode]string{}
	at := func(path string) (inode, error) {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return inode{}, &os.PathError{Op: "stat", Path: path, Err: err}
		}
		return inode{st.Dev, st.Ino}, nil
	}
	for _, p := range paths {
		i, err := at(p)
		if err != nil {
			return "", "", err
		}
		roots[i] = p
	}
	for _, p := range paths {
		dir, err := filepath.EvalSymlinks(p)
		if err != nil {
			return "", "", err
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return "", "", err
		}
		for own, _ := at(dir); dir != filepath.Dir(dir); {
			dir = filepath.Dir(dir)
			i, err := at(dir)
			if err != nil {
				return "", "", err
			}
			if i.dev != own.dev {
				break
			}
			if outer := roots[i]; outer != "" {
				return p, outer, nil
			}
		}
	}
	return "", "", nil
}
