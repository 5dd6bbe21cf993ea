package source

import (
	"context"
	"path"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

// An Image is the files of an image, or of a context that came as a tar.
type Image struct{ view *overlay.View }

// OfImage gives the files of a view, which stays the caller's.
func OfImage(v *overlay.View) *Image { return &Image{v} }

// Lstat gives what is at a path.
func (m *Image) Lstat(name string) (*File, error) {
	id := overlay.Root
	a, err := m.view.Attr(id)
	for rest := name; rest != "" && err == nil; {
		var base string
		base, rest = cut(rest)
		a, err = m.view.Lookup(a.ID, base)
	}
	if err == overlay.ErrNotDir {
		err = unix.ENOENT
	}
	if err != nil {
		return nil, &pathError{name, err}
	}
	return m.file(name, a)
}

func (m *Image) file(name string, a overlay.Attr) (*File, error) {
	f := &File{Links: int(a.Nlink), ID: ID{Ino: uint64(a.ID)}}
	f.Entry = toc.Entry{
		Path: name, Type: kinds[a.Mode&unix.S_IFMT], Mode: uint16(a.Mode & 0o7777), UID: a.UID, GID: a.GID, Mtime: a.Mtime,
	}
	var err error
	switch f.Entry.Type {
	case toc.Regular:
		f.Entry.Size = a.Size
	case toc.Char, toc.Block:
		f.Entry.Major, f.Entry.Minor = a.Device()
	case toc.Symlink:
		f.Entry.Link, err = m.view.Readlink(a.ID)
	}
	return f, err
}

// ReadDir gives what is in a directory.
func (m *Image) ReadDir(name string) ([]*File, error) {
	dir, err := m.Lstat(name)
	if err != nil {
		return nil, err
	}
	var files []*File
	var failed error
	err = m.view.ReadDir(overlay.NodeID(dir.ID.Ino), 0, func(base string, a overlay.Attr, _ uint64) bool {
		var f *File
		f, failed = m.file(path.Join(name, base), a)
		files = append(files, f)
		return failed == nil
	})
	if failed != nil {
		err = failed
	}
	return files, err
}

// Open gives the contents of a file.
func (m *Image) Open(ctx context.Context, f *File) (Contents, error) {
	return &imageContents{ctx, m.view, overlay.NodeID(f.ID.Ino)}, nil
}

type imageContents struct {
	ctx  context.Context // of Open
	view *overlay.View
	id   overlay.NodeID
}

func (c *imageContents) ReadAt(p []byte, off int64) (int, error) {
	return c.view.ReadAt(c.ctx, c.id, p, off)
}
func (c *imageContents) Close() error { return nil }

// Xattrs gives the attributes of a file: of an image all that it has.
func (m *Image) Xattrs(f *File) ([]toc.Xattr, error) {
	return m.view.Tree.Xattrs(overlay.NodeID(f.ID.Ino))
}
