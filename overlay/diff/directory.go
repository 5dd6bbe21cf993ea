package diff

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A directory is the Side of a file tree on disk: a mount, an unpacked image.
type directory struct{ root string }

// Directory gives the Side of the tree at root.
func Directory(root string) Side { return directory{root} }

// Lstat follows symlinks on the way as long as they lead to places below the
// root.
func (s directory) Lstat(name string) (*File, error) {
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	rel := path.Clean("/" + name)[1:]
	if rel == "" {
		return s.file(s.root, "")
	}
	if _, err := root.Lstat(rel); err != nil {
		return nil, err
	}
	return s.file(filepath.Join(s.root, rel), "")
}

func (s directory) ReadDir(dir *File) ([]*File, error) {
	at := dir.Ref.(string)
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil, err
	}
	files := make([]*File, len(entries))
	for i, e := range entries {
		if files[i], err = s.file(filepath.Join(at, e.Name()), e.Name()); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (s directory) file(at, name string) (*File, error) {
	var st unix.Stat_t
	if err := unix.Lstat(at, &st); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: at, Err: err}
	}
	f := &File{
		Name: name, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Ref: at,
		Mtime: toc.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
	}
	switch f.kind() {
	case unix.S_IFREG:
		f.Size = st.Size
	case unix.S_IFLNK:
		var err error
		if f.Target, err = os.Readlink(at); err != nil {
			return nil, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Major, f.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	var err error
	f.Xattrs, err = xattrsOf(at)
	return f, err
}

// xattrsOf gives the attributes of a file that an image could have too. A
// label of SELinux is this machine's, and a file on disk always has one.
func xattrsOf(at string) ([]toc.Xattr, error) {
	names, err := readXattr(func(b []byte) (int, error) { return unix.Llistxattr(at, b) })
	if err != nil || len(names) == 0 {
		return nil, pathError("llistxattr", at, err)
	}
	var xs []toc.Xattr
	for name := range bytes.SplitSeq(bytes.TrimSuffix(names, []byte{0}), []byte{0}) {
		x := toc.Xattr{Name: string(name)}
		if x.Name == "security.selinux" || strings.HasPrefix(x.Name, "trusted.overlay.") || strings.HasPrefix(x.Name, "user.overlay.") {
			continue
		}
		x.Value, err = readXattr(func(b []byte) (int, error) { return unix.Lgetxattr(at, x.Name, b) })
		if err != nil {
			return nil, pathError("lgetxattr "+x.Name, at, err)
		}
		xs = append(xs, x)
	}
	slices.SortFunc(xs, func(a, b toc.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return xs, nil
}

// readXattr calls get with a buffer that is large enough. A filesystem that
// knows no attributes has none.
func readXattr(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	for err == nil && n > 0 {
		b := make([]byte, n)
		if n, err = get(b); err == nil {
			return b[:n], nil
		}
		if errors.Is(err, unix.ERANGE) { // it has grown meanwhile
			n, err = get(nil)
		}
	}
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	return nil, err
}

func pathError(op, at string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: at, Err: err}
}

func (s directory) Open(_ context.Context, f *File) (Contents, error) {
	// What was a regular file when it was looked at may be a FIFO now.
	file, err := os.OpenFile(f.Ref.(string), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &fileContents{file, f.Size}, nil
}

// fileContents are those of a file on disk.
type fileContents struct {
	*os.File
	size int64
}

func (c *fileContents) NextData(off int64) (int64, error) {
	at, err := unix.Seek(int(c.Fd()), off, unix.SEEK_DATA)
	switch err {
	case nil:
		return at, nil
	case unix.ENXIO:
		return c.size, nil
	}
	return off, nil // a filesystem that does not tell
}
