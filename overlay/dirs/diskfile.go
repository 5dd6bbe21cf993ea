package dirs

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// A diskFile is a name in a folder on disk.
type diskFile struct {
	dir  *diskDir
	name string
	id   overlay.NodeID
}

var _ file = (*diskFile)(nil)

func (f *diskFile) readlink() (target string, err error) {
	err = f.dir.with(func(fd int) error {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, f.name, buf)
		target = string(buf[:max(n, 0)])
		return f.dir.fail(f.name, err)
	})
	return target, err
}

func (f *diskFile) xattr(name string) (value []byte, err error) {
	marks := f.dir.disk.marks
	err = f.dir.with(func(fd int) error {
		var err error
		value, err = ondisk.Xattr(fd, f.name, marks.Stored(name))
		if err == nil && value == nil {
			return overlay.ErrNoXattr
		}
		return f.dir.fail(f.name, err)
	})
	return value, err
}

func (f *diskFile) xattrs() (names []string, err error) {
	marks := f.dir.disk.marks
	err = f.dir.with(func(fd int) error {
		all, err := ondisk.Xattrs(fd, f.name)
		for _, name := range all {
			if !marks.Internal(name) {
				names = append(names, marks.Shown(name))
			}
		}
		return f.dir.fail(f.name, err)
	})
	return names, err
}

func (f *diskFile) metacopy() (is bool, m merging, err error) {
	disk := f.dir.disk
	err = f.dir.with(func(fd int) error {
		var err error
		if is, err = disk.marks.Metacopy(fd, f.name); err != nil || !is {
			return f.dir.fail(f.name, err)
		}
		if disk.marks == ondisk.User {
			// Whoever owns the layer could show with it what he may not read.
			return f.dir.fail(f.name+" is metadata alone, by an attribute that anyone can set", unix.EPERM)
		}
		m.redirect, err = disk.marks.Redirect(fd, f.name)
		return f.dir.fail(f.name, err)
	})
	return is, m, err
}

// open opens a regular file. The caller gives it back.
func (f *diskFile) open() (*ondisk.File[overlay.NodeID], error) {
	cache := &f.dir.disk.u.files
	if file := cache.Get(f.id); file != nil {
		return file, nil
	}
	var file *ondisk.File[overlay.NodeID]
	err := f.dir.with(func(dir int) error {
		const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
		fd, err := unix.Openat(dir, f.name, flags|unix.O_NOATIME, 0)
		if err == unix.EPERM {
			fd, err = unix.Openat(dir, f.name, flags, 0) // another's file
		}
		if err == nil {
			file = cache.Add(f.id, fd)
		}
		return f.dir.fail(f.name, err)
	})
	return file, err
}

// readAt fills p but for the end of the file, where the error is io.EOF.
func (f *diskFile) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	file, err := f.open()
	if err != nil {
		return 0, err
	}
	defer f.dir.disk.u.files.Put(file)
	for n := 0; ; {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := unix.Pread(file.FD, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return n, f.dir.fail(f.name, err)
		}
		if n += k; n == len(p) {
			return n, nil
		}
		if k == 0 {
			return n, io.EOF
		}
	}
}

// cached reports whether a read needs no disk: it tries the last byte.
func (f *diskFile) cached(off int64, n int) bool {
	cache := &f.dir.disk.u.files
	file := cache.Get(f.id)
	if file == nil {
		return false
	}
	defer cache.Put(file)
	last := []byte{0}
	for _, at := range []int64{off, off + int64(max(n, 1)) - 1} {
		if _, err := unix.Preadv2(file.FD, [][]byte{last}, at, unix.RWF_NOWAIT); err != nil {
			return false
		}
	}
	return true
}

func (f *diskFile) seek(off int64, whence int) (int64, error) {
	file, err := f.open()
	if err != nil {
		return 0, err
	}
	defer f.dir.disk.u.files.Put(file)
	found, err := unix.Seek(file.FD, off, whence)
	if errors.Is(err, unix.ENXIO) {
		return 0, overlay.ErrPastEnd
	}
	return found, f.dir.fail(f.name, err)
}

func (f *diskFile) blocks() (int64, error) {
	a, _, err := f.dir.stat(f.name)
	return a.Blocks, err
}
