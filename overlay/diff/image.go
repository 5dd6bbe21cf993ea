package diff

import (
	"context"
	"errors"

	"mica/overlay"
)

// An image is the Side of a view of layers.
type image struct {
	view  *overlay.View
	holds []string
}

// Image gives the Side of an image, which must be open as long as it is used.
// holds has a name for what each layer holds, bottom first; see
// [overlay.Image.Holds].
func Image(v *overlay.View, holds []string) Side { return image{v, holds} }

func (s image) Lstat(path string) (*File, error) {
	a, err := s.view.Lstat(path)
	if err != nil {
		return nil, err
	}
	return s.file("", a)
}

func (s image) ReadDir(dir *File) (files []*File, err error) {
	var failed error
	err = s.view.ReadDir(dir.Ref.(overlay.NodeID), 0, func(name string, a overlay.Attr, _ uint64) bool {
		var f *File
		f, failed = s.file(name, a)
		files = append(files, f)
		return failed == nil
	})
	if failed != nil {
		return nil, failed
	}
	return files, err
}

func (s image) file(name string, a overlay.Attr) (f *File, err error) {
	f = &File{Name: name, Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ref: a.ID}
	f.Major, f.Minor = a.Device()
	if f.Xattrs, err = s.view.Tree.Xattrs(a.ID); err != nil {
		return nil, err
	}
	switch {
	case f.isSymlink():
		f.Target, err = s.view.Readlink(a.ID)
	case f.isRegular():
		f.Size = a.Size
		var ok bool
		var at place
		if at.layer, at.layerOff, ok, err = s.view.Place(a.ID); ok {
			at.holds = s.holds[at.layer]
			f.place = at
		}
	}
	return f, err
}

func (s image) Open(ctx context.Context, f *File) (Contents, error) {
	return ContentsOf(ctx, s.view, f.Ref.(overlay.NodeID), f.Size), nil
}

// ContentsOf gives the contents of a regular file of a tree, of size bytes, to
// be read as long as ctx lasts.
func ContentsOf(ctx context.Context, tree overlay.Lower, id overlay.NodeID, size int64) Contents {
	return &imageContents{ctx: ctx, view: tree, id: id, size: size}
}

// imageContents are those of a file of an image.
type imageContents struct {
	ctx  context.Context // of Open
	view overlay.Lower
	id   overlay.NodeID
	size int64
}

func (c *imageContents) ReadAt(p []byte, off int64) (int, error) {
	return c.view.ReadAt(c.ctx, c.id, p, off)
}

func (c *imageContents) NextData(off int64) (int64, error) {
	at, err := c.view.SeekData(c.id, off)
	if errors.Is(err, overlay.ErrPastEnd) {
		return c.size, nil
	}
	return at, err
}

func (c *imageContents) Close() error { return nil }
