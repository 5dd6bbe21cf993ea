package overlay

import (
	"context"
	"io"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay/tarball"
)

// WriteTar writes a node and all below it as one tar: as it would be
// unpacked, so that the same tree is always the same bytes. The node itself
// is called name, what is in it name/…; a directory can have the name "", it
// is then "./", and what is in it has no prefix.
// Second names are hard links to the first; the format is that of package
// tarball.
func (v *View) WriteTar(ctx context.Context, w io.Writer, name string, id NodeID) error {
	e := exporter{view: v, tar: tarball.NewWriter(w), first: map[NodeID]string{}, buf: make([]byte, copyLen)}
	err := v.Walk(name, id, func(at *Visit) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return e.add(ctx, at)
	})
	if err != nil {
		return err
	}
	return e.tar.Close()
}

// An exporter writes one tar.
type exporter struct {
	view  *View
	tar   *tarball.Writer
	buf   []byte
	first map[NodeID]string // under which name a node with several was written
}

func (e *exporter) add(ctx context.Context, at *Visit) error {
	entry, err := e.entry(at)
	if err != nil {
		return err
	}
	return e.tar.Add(entry, func(w io.Writer, off, n int64) error {
		_, err := e.view.writeRange(ctx, w, at.Attr.ID, off, n, e.buf)
		return err
	})
}

// entryTypes are those of layers for the kinds of file.
var entryTypes = map[uint32]toc.Type{
	unix.S_IFREG: toc.Regular, unix.S_IFDIR: toc.Dir, unix.S_IFLNK: toc.Symlink,
	unix.S_IFCHR: toc.Char, unix.S_IFBLK: toc.Block, unix.S_IFIFO: toc.Fifo,
}

func (e *exporter) entry(at *Visit) (*toc.Entry, error) {
	a := at.Attr
	t := &toc.Entry{
		Type: entryTypes[a.Mode&unix.S_IFMT], Path: at.Path, Mode: uint16(a.Mode & 0o7777),
		UID: a.UID, GID: a.GID, Mtime: a.Mtime,
	}
	if t.Type != toc.Dir && a.Nlink > 1 {
		first, ok := e.first[a.ID]
		if ok {
			t.Type, t.Link = toc.Hardlink, first
			t.Mtime.Nsec = 0 // told with the first name
			return t, nil
		}
		e.first[a.ID] = at.Path
	}
	var err error
	switch t.Type {
	case toc.Regular:
		t.Size = a.Size
		if t.Sparse, err = e.view.extents(a.ID); err != nil {
			return nil, err
		}
	case toc.Symlink:
		t.Link, err = e.view.Readlink(a.ID)
	case toc.Char, toc.Block:
		t.Major, t.Minor = a.Device()
	}
	if err != nil {
		return nil, err
	}
	t.Xattrs, err = e.view.Tree.Xattrs(a.ID)
	return t, err
}

// extents gives what of a regular file is no hole, nil if all is data.
func (v *View) extents(id NodeID) ([]toc.Extent, error) {
	d, err := v.fileData(id)
	if err != nil || !d.sparse {
		return nil, err
	}
	list := make([]toc.Extent, d.extents)
	for i := range list {
		x, err := d.extent(i)
		if err != nil {
			return nil, err
		}
		list[i] = toc.Extent{Off: x.off, Len: x.len}
	}
	return list, nil
}
