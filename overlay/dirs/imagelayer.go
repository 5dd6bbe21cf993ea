package dirs

import (
	"context"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// An imageLayer is a layer that is a tree of its own, of an image. It has no
// marks: what its layers hide is not in it.
type imageLayer struct {
	index int
	tree  overlay.Lower
	base  overlay.NodeID // what its nodes' numbers are added to
}

// An imageDir is a folder of an image.
type imageDir struct {
	layer *imageLayer
	node  overlay.NodeID // in the image
}

var _ folder = (*imageDir)(nil)

func (d *imageDir) level() int { return d.layer.index }

// own gives what a name stands for in the image itself.
func (d *imageDir) own(name string) (overlay.Attr, error) {
	if name == "." {
		return d.layer.tree.Attr(d.node)
	}
	return d.layer.tree.Lookup(d.node, name)
}

func (d *imageDir) stat(name string) (overlay.Attr, bool, error) {
	a, err := d.own(name)
	if err != nil {
		return a, false, err
	}
	a.ID |= d.layer.base
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		a.Nlink = 1 // see attrOf
	}
	return a, false, nil
}

func (d *imageDir) each(emit func(entry) error) error {
	var failed error
	err := d.layer.tree.ReadDir(d.node, 0, func(name string, a overlay.Attr, _ uint64) bool {
		failed = emit(entry{name: name, kind: a.Mode & unix.S_IFMT, id: a.ID | d.layer.base})
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

func (d *imageDir) sub(name string) (folder, merging, error) {
	a, err := d.own(name)
	if err == nil && a.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = overlay.ErrNotDir
	}
	return &imageDir{d.layer, a.ID}, merging{}, err
}

func (d *imageDir) file(name string, _ overlay.NodeID) file { return &imageFile{d, name} }

// An imageFile is a name in a folder of an image.
type imageFile struct {
	dir  *imageDir
	name string
}

var _ file = (*imageFile)(nil)

// of calls use with the tree and the number that the file has in it.
func of[T any](f *imageFile, use func(overlay.Lower, overlay.NodeID) (T, error)) (T, error) {
	a, err := f.dir.own(f.name)
	if err != nil {
		var none T
		return none, err
	}
	return use(f.dir.layer.tree, a.ID)
}

func (f *imageFile) readlink() (string, error) { return of(f, overlay.Lower.Readlink) }

func (f *imageFile) xattrs() ([]string, error) { return of(f, overlay.Lower.Xattrs) }

func (f *imageFile) xattr(name string) ([]byte, error) {
	return of(f, func(t overlay.Lower, id overlay.NodeID) ([]byte, error) { return t.Xattr(id, name) })
}

func (f *imageFile) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	return of(f, func(t overlay.Lower, id overlay.NodeID) (int, error) { return t.ReadAt(ctx, id, p, off) })
}

func (f *imageFile) cached(off int64, n int) bool {
	is, err := of(f, func(t overlay.Lower, id overlay.NodeID) (bool, error) { return t.Cached(id, off, n), nil })
	return is || err != nil
}

func (f *imageFile) seek(off int64, whence int) (int64, error) {
	seek := overlay.Lower.SeekHole
	if whence == unix.SEEK_DATA {
		seek = overlay.Lower.SeekData
	}
	return of(f, func(t overlay.Lower, id overlay.NodeID) (int64, error) { return seek(t, id, off) })
}

func (f *imageFile) blocks() (int64, error) {
	a, err := f.dir.own(f.name)
	return a.Blocks, err
}

func (f *imageFile) metacopy() (bool, merging, error) { return false, merging{}, nil }

// InImage gives the number that a node has in the image that is a layer, where
// that alone makes it what it is: a file that no layer above has, a directory
// that none has a part in. ok is false else.
func (u *Union) InImage(id overlay.NodeID) (in overlay.NodeID, ok bool, err error) {
	s, err := u.here(id)
	if err != nil {
		return 0, false, err
	}
	d, ok := s.dir.stack[s.at].(*imageDir)
	if !ok {
		return 0, false, nil
	}
	a, err := d.own(s.name)
	return a.ID, err == nil, err
}
