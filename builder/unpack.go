package builder

import (
	"errors"

	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mica/builder/source"
	"mica/layerstore/toc"
	"mica/overlay"
)

// put writes an entry to disk, in a directory that is ours alone. root is that of
// hard links, whose targets begin with "m".
func put(at, root string, e *toc.Entry, contents source.WriteContents) (err error) {
	switch e.Type {
	case toc.Dir:
		if err = os.Mkdir(at, 0o700); errors.Is(err, os.ErrExist) {
			err = nil
		}
	case toc.Regular:
		err = putFile(at, e, contents)
	case toc.Symlink:
		err = os.Symlink(e.Link, at)
	case toc.Hardlink:
		return os.Link(filepath.Join(root, e.Link[1:]), at)
	case toc.Fifo:
		err = unix.Mkfifo(at, 0o600)
	case toc.Char:
		err = unix.Mknod(at, unix.S_IFCHR|0o600, int(unix.Mkdev(e.Major, e.Minor)))
	case toc.Block:
		err = unix.Mknod(at, unix.S_IFBLK|0o600, int(unix.Mkdev(e.Major, e.Minor)))
	}
	if err != nil {
		return err
	}
	if err := os.Lchown(at, int(e.UID), int(e.GID)); err != nil {
		return err
	}
	if e.Type == toc.Symlink {
		return nil
	}
	for _, x := range e.Xattrs {
		if err := unix.Lsetxattr(at, x.Name, x.Value, 0); err != nil {
			return &os.PathError{Op: "setxattr " + x.Name, Path: at, Err: err}
		}
	}
	if err := unix.Chmod(at, uint32(e.Mode)); err != nil {
		return &os.PathError{Op: "chmod", Path: at, Err: err}
	}
	return os.Chtimes(at, e.Mtime.Time(), e.Mtime.Time())
}

func putFile(at string, e *toc.Entry, contents source.WriteContents) error {
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if contents != nil {
		err = contents(f, 0, e.Size)
	}
	return errors.Join(err, f.Close())
}

// ownMounts are the files that every container has mounted over its image's.
var ownMounts = []Mount{{Target: "/etc/hosts"}, {Target: "/etc/hostname"}, {Target: "/etc/resolv.conf"}, {Target: "/dev"}, {Target: "/proc"}, {Target: "/sys"}}

// removeStubs removes from an upper what was only made to mount something on:
// empty files and directories, on the way to a target, that the image does not have.
func removeStubs(upper string, image *overlay.View, mounts []Mount) error {
	for _, m := range append(mounts, ownMounts...) {
		tree := source.OfImage(image)
		clean, there, err := source.Place(tree, m.Target)
		if err != nil || there != nil {
			continue // it is there, or the runtime would have refused it
		}
		for at := clean; at != "" && at != "."; at = filepath.Dir(at) {
			if f, err := tree.Lstat(at); err == nil && f != nil {
				break
			}
			st, err := os.Lstat(filepath.Join(upper, at))
			if err != nil || !st.IsDir() && st.Size() > 0 {
				break
			}
			if err := os.Remove(filepath.Join(upper, at)); errors.Is(err, unix.ENOTEMPTY) {
				break
			} else if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
