package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A Directory is a build context on disk. Close it.
type Directory struct{ root *os.File }

// OpenDirectory opens a build context.
func OpenDirectory(name string) (*Directory, error) {
	f, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Directory{f}, nil
}

// Close lets go of it.
func (d *Directory) Close() error { return d.root.Close() }

// open opens a path without following any symlink, be it meanwhile put in place
// of a directory (openat2(2), Linux 5.6).
func (d *Directory) open(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	at := name
	if at == "" {
		at = "."
	}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(int(d.root.Fd()), at, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case err == unix.EINTR, err == unix.EAGAIN && tries < 100:
			// EAGAIN: something on the way was renamed meanwhile.
		case err == unix.ELOOP, err == unix.ENOTDIR:
			return nil, &os.PathError{Op: "open", Path: name, Err: unix.ENOENT}
		default:
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// Lstat gives what is at a path.
func (d *Directory) Lstat(name string) (*File, error) {
	// A symlink at the end is opened for itself with O_PATH and O_NOFOLLOW, but
	// RESOLVE_NO_SYMLINKS refuses even that: so by its directory.
	if name == "" {
		return d.file(int(d.root.Fd()), "", "")
	}
	parent, err := d.open(strings.TrimSuffix(path.Dir(name), "."), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return d.file(int(parent.Fd()), path.Base(name), name)
}

// ReadDir gives what is in a directory.
func (d *Directory) ReadDir(name string) ([]*File, error) {
	dir, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	files := make([]*File, 0, len(names))
	for _, base := range names {
		f, err := d.file(int(dir.Fd()), base, path.Join(name, base))
		if errors.Is(err, iofs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

var kinds = map[uint32]toc.Type{
	unix.S_IFREG: toc.Regular, unix.S_IFDIR: toc.Dir, unix.S_IFLNK: toc.Symlink, unix.S_IFIFO: toc.Fifo,
	unix.S_IFCHR: toc.Char, unix.S_IFBLK: toc.Block, unix.S_IFSOCK: Socket,
}

// file tells of a name in an open directory.
func (d *Directory) file(dir int, base, full string) (*File, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: full, Err: err}
	}
	id := ID{st.Dev, st.Ino}
	f := &File{Links: int(st.Nlink), ID: id}
	f.Stamp = &Stamp{id, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
	f.Entry = toc.Entry{
		Path: full, Type: kinds[st.Mode&unix.S_IFMT], Mode: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid,
		Mtime: toc.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
	}
	switch f.Entry.Type {
	case toc.Regular:
		f.Entry.Size = st.Size
	case toc.Char, toc.Block:
		f.Entry.Major, f.Entry.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case toc.Symlink:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buf)
		if err != nil {
			return nil, &os.PathError{Op: "readlink", Path: full, Err: err}
		}
		f.Entry.Link = string(buf[:n])
	}
	return f, nil
}

// Open gives the contents of a file.
func (d *Directory) Open(_ context.Context, f *File) (Contents, error) {
	// What was a regular file when it was looked at may be a FIFO now.
	file, err := d.open(f.Entry.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: is no regular file any more", f.Entry.Path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// keptXattrs are the attributes of a context's file that are part of what it
// is. Others belong to the machine: labels, access lists, notes of programs.
var keptXattrs = []string{"security.capability"}

// Xattrs gives the attributes that belong into a layer.
func (d *Directory) Xattrs(f *File) ([]toc.Xattr, error) {
	if !f.IsRegular() {
		return nil, nil
	}
	file, err := d.open(f.Entry.Path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readXattrs(int(file.Fd()))
}

func readXattrs(fd int) (xs []toc.Xattr, err error) {
	for _, name := range keptXattrs {
		buf := make([]byte, 256)
		n, err := unix.Fgetxattr(fd, name, buf)
		switch err {
		case nil:
			xs = append(xs, toc.Xattr{Name: name, Value: bytes.Clone(buf[:n])})
		case unix.ENODATA, unix.ENOTSUP:
		default:
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return xs, nil
}
