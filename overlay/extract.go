package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ExtractOptions say how files are copied out of an image.
type ExtractOptions struct {
	// Archive keeps owners as well, and what hangs on them: setuid and setgid,
	// extended attributes. Who may not do so gets files of their own instead,
	// without those bits. Without Archive files are the caller's, and what is
	// kept is kind, permissions, time, links and holes.
	Archive bool
	// Failed is told of each file that could not be copied, path being that in
	// the image below the start; an error from it ends the copy, nil goes on.
	// With nil the first failure ends it.
	Failed func(path string, err error) error
}

// Extract copies a node and all below it to name in the directory dir. What
// has that name there is replaced, but for a directory where a directory goes,
// to whose names those of the image are added; one that is there keeps its
// mode and time unless Archive is set.
//
// Nothing is ever written through a symlink: not through one of the image,
// nor through one that lies below dir.
func (v *View) Extract(ctx context.Context, id NodeID, dir *os.File, name string, o ExtractOptions) error {
	a, err := v.Attr(id)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(dir)
	x := newExtraction(v, int(dir.Fd()), name, o)
	return x.settle(ctx, "", x.node(ctx, destination{x.top, name}, "", a))
}

// ExtractInto copies what is in a directory of the image into dir, which is
// taken for that directory itself.
func (v *View) ExtractInto(ctx context.Context, id NodeID, dir *os.File, o ExtractOptions) error {
	a, err := v.Attr(id)
	if err != nil {
		return err
	}
	if a.Mode&unix.S_IFMT != unix.S_IFDIR {
		return ErrNotDir
	}
	defer runtime.KeepAlive(dir)
	x := newExtraction(v, int(dir.Fd()), "", o)
	return x.settle(ctx, "", x.fill(ctx, x.top, "", a, !o.Archive))
}

// An extraction copies one tree. Paths are below its start.
//
// Each directory is held open and its children are named from there, so that
// no path is resolved but those of hard links, which lead through directories
// that were just made or found to be no symlinks.
type extraction struct {
	ExtractOptions
	view *View
	top  int    // the directory that all goes to
	base string // name of the start in top; "" is top itself
	buf  []byte

	first   map[NodeID]string // where a node with several names was copied to, from top
	stopped bool              // a failure was not to be gone on from
}

// A destination is a name in an open directory.
type destination struct {
	dir  int
	name string
}

func newExtraction(v *View, top int, base string, o ExtractOptions) *extraction {
	return &extraction{ExtractOptions: o, view: v, top: top, base: base, buf: make([]byte, copyLen), first: map[NodeID]string{}}
}

// settle decides what becomes of the failure of one file: nil goes on.
func (x *extraction) settle(ctx context.Context, path string, err error) error {
	if err == nil || x.stopped {
		return err
	}
	if x.Failed != nil && ctx.Err() == nil && !hopeless(err) {
		err = x.Failed(path, err)
	}
	x.stopped = err != nil
	return err
}

// hopeless reports whether the next file would fail as well.
func hopeless(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// node copies one node with what is below it.
func (x *extraction) node(ctx context.Context, to destination, path string, a Attr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kind := a.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		return x.dir(ctx, to, path, a)
	}
	if first, ok := x.first[a.ID]; ok {
		err := replacing(to, func() error { return unix.Linkat(x.top, first, to.dir, to.name, 0) })
		switch err {
		case unix.EMLINK, unix.EPERM, unix.EXDEV, unix.ENAMETOOLONG:
			// Where no link can be, its contents are.
		default:
			return err
		}
	}
	var err error
	switch kind {
	case unix.S_IFREG:
		err = x.regular(ctx, to, path, a)
	case unix.S_IFLNK:
		err = x.symlink(to, a)
	default:
		err = x.special(to, a)
	}
	if err == nil && a.Nlink > 1 {
		x.first[a.ID] = strings.Trim(x.base+"/"+path, "/")
	}
	return err
}

// replacing makes something, in the place of what has its name.
func replacing(to destination, make func() error) error {
	err := make()
	if err == unix.EEXIST {
		if err = unix.Unlinkat(to.dir, to.name, 0); err == nil {
			err = make()
		}
	}
	return err
}

// dir copies a directory.
func (x *extraction) dir(ctx context.Context, to destination, path string, a Attr) error {
	err := unix.Mkdirat(to.dir, to.name, 0o700)
	found := err == unix.EEXIST
	if err != nil && !found {
		return err
	}
	fd, err := unix.Openat(to.dir, to.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return errors.New("there is a file where a directory goes")
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return x.fill(ctx, fd, path, a, found && !x.Archive)
}

// fill copies what is in a directory, then, unless that is to be left alone,
// what the directory itself is.
func (x *extraction) fill(ctx context.Context, fd int, path string, a Attr, leave bool) error {
	var stop error
	err := x.view.ReadDir(a.ID, 0, func(name string, child Attr, _ uint64) bool {
		below := strings.TrimPrefix(path+"/"+name, "/")
		err := checkName(name)
		if err == nil {
			err = x.node(ctx, destination{fd, name}, below, child)
		}
		stop = x.settle(ctx, below, err)
		return stop == nil
	})
	if stop != nil {
		return stop
	}
	if err != nil || leave {
		return err
	}
	return x.finish(openFile(fd), a)
}

// checkName refuses names that would lead out of a directory. A sound tree has
// none, but here is where one would do harm.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is no name for a file", name)
	}
	return nil
}

// regular copies a regular file: whole, or not at all.
func (x *extraction) regular(ctx context.Context, to destination, path string, a Attr) error {
	var fd int
	err := replacing(to, func() (err error) {
		fd, err = unix.Openat(to.dir, to.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), path)
	err = x.contents(ctx, f, a)
	if err == nil {
		err = x.finish(openFile(fd), a)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		unix.Unlinkat(to.dir, to.name, 0)
	}
	return err
}

// contents writes what is no hole.
func (x *extraction) contents(ctx context.Context, f *os.File, a Attr) error {
	d, err := x.view.fileData(a.ID)
	if err != nil {
		return err
	}
	if !d.sparse {
		_, err := x.view.writeRange(ctx, f, a.ID, 0, d.size, x.buf)
		return err
	}
	for i := range d.extents {
		e, err := d.extent(i)
		if err != nil {
			return err
		}
		if _, err := x.view.writeRange(ctx, io.NewOffsetWriter(f, e.off), a.ID, e.off, e.len, x.buf); err != nil {
			return err
		}
	}
	return f.Truncate(d.size)
}

func (x *extraction) symlink(to destination, a Attr) error {
	target, err := x.view.Readlink(a.ID)
	if err != nil {
		return err
	}
	if err := replacing(to, func() error { return unix.Symlinkat(target, to.dir, to.name) }); err != nil {
		return err
	}
	return x.finish(to, a)
}

// special makes a device or a FIFO.
func (x *extraction) special(to destination, a Attr) error {
	major, minor := a.Device()
	err := replacing(to, func() error {
		return unix.Mknodat(to.dir, to.name, a.Mode&unix.S_IFMT|0o600, int(unix.Mkdev(major, minor)))
	})
	if err != nil {
		return err
	}
	return x.finish(to, a)
}
