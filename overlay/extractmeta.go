package overlay

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A target is a file just made, to be given what is not its contents.
type target interface {
	chown(uid, gid int) error
	chmod(mode uint32) error
	setxattr(name string, value []byte) error
	utimes(ts []unix.Timespec) error
}

// finish gives a file that was made the rest of what it has in the image. The
// order matters: a change of owner takes setuid, setgid and capabilities away,
// a file without write permission takes no user attributes.
func (x *extraction) finish(f target, a Attr) error {
	mode := a.Mode & 0o1777
	if x.Archive {
		owned, err := x.chown(f, a)
		if err != nil {
			return err
		}
		if owned {
			mode = a.Mode & 0o7777
		}
		if err := x.setxattrs(f, a, owned); err != nil {
			return err
		}
	}
	if a.Mode&unix.S_IFMT != unix.S_IFLNK { // those have no mode of their own
		if err := f.chmod(mode); err != nil {
			return err
		}
	}
	t := unix.Timespec{Sec: a.Mtime.Sec, Nsec: int64(a.Mtime.Nsec)}
	return f.utimes([]unix.Timespec{t, t})
}

// chown reports whether the file has the owner that it has in the image.
func (x *extraction) chown(f target, a Attr) (bool, error) {
	err := f.chown(int(a.UID), int(a.GID))
	if err != nil && os.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL)) {
		return false, nil
	}
	return err == nil, err
}

// setxattrs sets those attributes that the caller and the file system allow.
// Capabilities are for the owner that the image says, like setuid.
func (x *extraction) setxattrs(f target, a Attr, owned bool) error {
	xs, err := x.view.Tree.Xattrs(a.ID)
	if err != nil {
		return err
	}
	for _, attr := range xs {
		if !owned && attr.Name == "security.capability" {
			continue
		}
		switch err := f.setxattr(attr.Name, attr.Value); err {
		case nil, unix.EPERM, unix.EACCES, unix.ENOTSUP:
		default:
			return fmt.Errorf("%s: %w", attr.Name, err)
		}
	}
	return nil
}

// An openFile is a target that is open: a regular file or a directory.
type openFile int

func (fd openFile) chown(uid, gid int) error { return unix.Fchown(int(fd), uid, gid) }
func (fd openFile) chmod(mode uint32) error  { return unix.Fchmod(int(fd), mode) }
func (fd openFile) setxattr(name string, value []byte) error {
	return unix.Fsetxattr(int(fd), name, value, 0)
}

func (fd openFile) utimes(ts []unix.Timespec) error {
	return unix.UtimesNanoAt(int(fd), "", ts, unix.AT_EMPTY_PATH)
}

// A destination is a target that cannot be opened without effects: a symlink, a
// device or a FIFO.
func (to destination) chown(uid, gid int) error {
	return unix.Fchownat(to.dir, to.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// chmod is for what was just made in its place, and is no symlink.
func (to destination) chmod(mode uint32) error { return unix.Fchmodat(to.dir, to.name, mode, 0) }

func (to destination) setxattr(name string, value []byte) error {
	return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", to.dir, to.name), name, value, 0)
}

func (to destination) utimes(ts []unix.Timespec) error {
	return unix.UtimesNanoAt(to.dir, to.name, ts, unix.AT_SYMLINK_NOFOLLOW)
}
