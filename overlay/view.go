package overlay

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// A LayerReader gives the uncompressed bytes of a layer; *blob.Reader is one.
type LayerReader interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Cached says whether that read can be served without waiting.
	Cached(off int64, n int) bool
}

// A View is an image as programs see it: a tree, and the bytes of its layers.
// Its methods may be called concurrently.
type View struct {
	*Tree
	layers []LayerReader
}

// NewView joins a tree with the readers of its layers, bottom first. Both stay
// the caller's.
func NewView(t *Tree, layers []LayerReader) (*View, error) {
	if len(layers) != len(t.Layers()) {
		return nil, fmt.Errorf("%d readers for a tree of %d layers", len(layers), len(t.Layers()))
	}
	return &View{Tree: t, layers: layers}, nil
}

// Lookup gives what a name in a directory stands for; a name that is not there
// matches [io/fs.ErrNotExist].
func (v *View) Lookup(dir NodeID, name string) (Attr, error) {
	id, err := v.Tree.Lookup(dir, name)
	if err != nil {
		return Attr{}, err
	}
	return v.Attr(id)
}

// ReadDir is that of the tree, with the attributes of each child.
func (v *View) ReadDir(dir NodeID, cookie uint64, emit func(name string, a Attr, next uint64) bool) error {
	var failed error
	err := v.Tree.ReadDir(dir, cookie, func(name string, id NodeID, next uint64) bool {
		a, err := v.Attr(id)
		if err != nil {
			failed = err
			return false
		}
		return emit(name, a, next)
	})
	if failed != nil {
		return failed
	}
	return err
}

// Statfs tells how much the image holds: files, and 512-byte blocks of the
// layers as stored.
func (v *View) Statfs() (blocks, files uint64) {
	for _, l := range v.Layers() {
		blocks += uint64(l.Size+511) / 512
	}
	return blocks, uint64(v.Inodes())
}

// ReadAt fills p with the bytes of a regular file from off on, holes as
// zeros. It gives fewer only at the end of the file, with io.EOF.
func (v *View) ReadAt(ctx context.Context, id NodeID, p []byte, off int64) (int, error) {
	d, err := v.fileData(id)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	if off >= d.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > d.size-off
	p = p[:min(int64(len(p)), d.size-off)]
	n := 0
	err = d.each(off, int64(len(p)), func(layerOff, length int64) error {
		part := p[n : n+int(length)]
		n += int(length)
		if layerOff < 0 {
			clear(part)
			return nil
		}
		k, err := v.layers[d.layer].ReadAt(ctx, part, layerOff)
		if k == len(part) {
			return nil
		}
		n -= len(part) - k
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the tree says that there is more
		}
		if ctx.Err() != nil {
			return err
		}
		return &LayerError{d.layer, err}
	})
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// Cached says whether a read of n bytes at off can be served without waiting
// for bytes to be fetched or decoded.
func (v *View) Cached(id NodeID, off int64, n int) bool {
	d, err := v.fileData(id)
	if err != nil || off < 0 || off >= d.size {
		return true
	}
	cached := true
	d.each(off, min(int64(n), d.size-off), func(layerOff, length int64) error {
		cached = cached && (layerOff < 0 || v.layers[d.layer].Cached(layerOff, int(length)))
		return nil
	})
	return cached
}

// SeekData gives the first offset at or after off that holds data
// (lseek(2), SEEK_DATA). Where none is left it is ErrPastEnd.
func (v *View) SeekData(id NodeID, off int64) (int64, error) { return v.seek(id, off, true) }

// SeekHole gives the first offset at or after off that lies in a hole; the
// end of the file counts as one (lseek(2), SEEK_HOLE).
func (v *View) SeekHole(id NodeID, off int64) (int64, error) { return v.seek(id, off, false) }

func (v *View) seek(id NodeID, off int64, data bool) (int64, error) {
	d, err := v.fileData(id)
	if err != nil {
		return 0, err
	}
	if off < 0 || off >= d.size {
		return 0, ErrPastEnd
	}
	found := int64(-1)
	at := off
	d.each(off, d.size-off, func(layerOff, length int64) error {
		if isData := layerOff >= 0; isData == data {
			found = at
			return io.EOF // enough
		}
		at += length
		return nil
	})
	switch {
	case found >= 0:
		return found, nil
	case data:
		return 0, ErrPastEnd
	}
	return d.size, nil
}
