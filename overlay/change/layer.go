package change

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
	"mica/overlay/diff"
	"mica/overlay/tarball"
)

// LayerOptions say how a layer is written.
type LayerOptions struct {
	// NotAfter, if not nil, is written in place of times after it, as builders do
	// with SOURCE_DATE_EPOCH.
	NotAfter *time.Time
	// Note, if not nil, is told of what a layer cannot have.
	Note func(text string)
}

// A NameError says that the name of a file has a meaning of its own in a layer.
type NameError struct{ Path string }

func (e *NameError) Error() string {
	return fmt.Sprintf("/%s: in a layer a name that begins with .wh. says that a file is deleted", e.Path)
}

// WriteLayer writes what the upper changes as a layer (image-spec layer.md): a
// tar of what is new or changed, and whiteouts. It gives the number of changes.
// Sockets are left out: there are none in a tar.
func (t *Tree) WriteLayer(ctx context.Context, to io.Writer, o LayerOptions) (changes int, err error) {
	w := &layerWriter{ctx: ctx, t: t, o: o, tar: tarball.NewWriter(to), buf: make([]byte, copyLen)}
	if err := t.Walk(ctx, func(c *Change) error { changes++; return w.add(c) }); err != nil {
		return changes, err
	}
	return changes, w.tar.Close()
}

// copyLen is how many bytes of a file are read at once.
const copyLen = 512 << 10

type layerWriter struct {
	ctx context.Context // of WriteLayer
	t   *Tree
	o   LayerOptions
	tar *tarball.Writer
	buf []byte
}

func (w *layerWriter) add(c *Change) error {
	if strings.HasPrefix(c.Path[strings.LastIndexByte(c.Path, '/')+1:], ".wh.") {
		return &NameError{c.Path}
	}
	if c.To == nil {
		return w.tar.Add(&toc.Entry{Type: toc.Whiteout, Path: c.Path}, nil)
	}
	e, err := w.entry(c)
	if e == nil || err != nil {
		return err
	}
	err = w.tar.Add(e, func(to io.Writer, off, n int64) error { return w.copy(to, c.To, off, n) })
	if err != nil {
		return fmt.Errorf("/%s: %w", c.Path, err)
	}
	return nil
}

// entryTypes are those of layers for the kinds of file.
var entryTypes = map[uint32]toc.Type{
	unix.S_IFREG: toc.Regular, unix.S_IFDIR: toc.Dir, unix.S_IFLNK: toc.Symlink,
	unix.S_IFCHR: toc.Char, unix.S_IFBLK: toc.Block, unix.S_IFIFO: toc.Fifo,
}

// entry gives what stands for a file, nil if nothing can.
func (w *layerWriter) entry(c *Change) (*toc.Entry, error) {
	f := c.To
	e := &toc.Entry{
		Path: c.Path, Type: entryTypes[f.Mode&unix.S_IFMT], Mode: uint16(f.Mode & 0o7777), UID: f.UID, GID: f.GID,
		Mtime: w.time(f.Mtime), Major: f.Major, Minor: f.Minor,
	}
	switch {
	case e.Type == 0:
		if w.o.Note != nil {
			w.o.Note(fmt.Sprintf("/%s is a socket and left out", c.Path))
		}
		return nil, nil
	case c.Link != "":
		e.Type, e.Link, e.Major, e.Minor = toc.Hardlink, c.Link, 0, 0
		e.Mtime.Nsec = 0 // told with the first name
		return e, nil
	}
	e.Link, e.Xattrs = f.Target, f.Xattrs
	if e.Type == toc.Regular {
		var err error
		if e.Size, e.Sparse, err = f.Size, nil, nil; f.Size >= minHoles {
			e.Sparse, err = w.data(f)
		}
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", c.Path, err)
		}
	}
	return e, nil
}

func (w *layerWriter) time(t toc.Time) toc.Time {
	if w.o.NotAfter != nil && t.Time().After(*w.o.NotAfter) {
		return toc.Time{Sec: w.o.NotAfter.Unix(), Nsec: uint32(w.o.NotAfter.Nanosecond())}
	}
	return t
}

// copy writes n bytes of a file from off on.
func (w *layerWriter) copy(to io.Writer, f *diff.File, off, n int64) error {
	for end := off + n; off < end; {
		part := w.buf[:min(end-off, int64(len(w.buf)))]
		k, err := w.t.union.ReadAt(w.ctx, f.Ref.(overlay.NodeID), part, off)
		if k < len(part) {
			if err == nil || err == io.EOF {
				err = fmt.Errorf("it was cut short meanwhile: %w", io.ErrUnexpectedEOF)
			}
			return err
		}
		if _, err := to.Write(part); err != nil {
			return err
		}
		off += int64(k)
	}
	return nil
}

const (
	// holeLen is what holes are told by: as many zeros, at a multiple of it.
	// Holes on disk would be others on another file system.
	holeLen = 64 << 10
	// minHoles is how long all holes of a file are for it to be stored as sparse:
	// for less it is not worth it that few tools write such files.
	minHoles = 1 << 20
)

// data gives what of a file is no hole, nil if that is not worth it.
func (w *layerWriter) data(f *diff.File) ([]toc.Extent, error) {
	contents, err := w.t.To().Open(w.ctx, f)
	if err != nil {
		return nil, err
	}
	defer contents.Close()
	data, sum := []toc.Extent{}, int64(0)
	for off := int64(0); off < f.Size; {
		next, err := contents.NextData(off)
		if err != nil {
			return nil, err
		}
		off = max(off, next&^(holeLen-1))
		// One block tells of most files that they have no holes nearby.
		part := w.buf[:min(holeLen, max(f.Size-off, 0))]
		if k, err := contents.ReadAt(part, off); k < len(part) {
			return nil, fmt.Errorf("it was cut short meanwhile: %w", err)
		}
		if !zero(part) {
			n := int64(len(part))
			if last := len(data) - 1; last >= 0 && data[last].Off+data[last].Len == off {
				data[last].Len += n
			} else {
				data = append(data, toc.Extent{Off: off, Len: n})
			}
			sum += n
		}
		off += int64(len(part))
	}
	if f.Size-sum < minHoles {
		return nil, nil
	}
	return data, nil
}

func zero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
