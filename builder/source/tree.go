package source

import (
	"context"
	"fmt"
	"io"

	"mica/layerstore/toc"
)

// A Tree is files to be copied. Paths are clean and without a slash at the
// front, "" being the root. Symlinks are never followed: a path that leads
// through one is as one that is not there. Its methods may be called
// concurrently.
type Tree interface {
	// Lstat gives what is at a path; what is not there matches io/fs.ErrNotExist.
	Lstat(path string) (*File, error)
	// ReadDir gives what is in a directory, sorted by the bytes of the names.
	ReadDir(path string) ([]*File, error)
	// Open gives the contents of a regular file, to be closed.
	Open(ctx context.Context, f *File) (Contents, error)
	// Xattrs gives the attributes of a file that belong into a layer, sorted.
	Xattrs(f *File) ([]toc.Xattr, error)
}

// Contents are the bytes of a regular file.
type Contents interface {
	io.ReaderAt
	io.Closer
}

// A File is one name of a Tree.
type File struct {
	// Entry is what a tar would say of it. Its Path is that in the tree; Link is
	// set of symlinks alone, Xattrs of none. The Type of a socket is [Socket].
	Entry toc.Entry
	// Links is how many names it has, ID what they have in common.
	Links int
	ID    ID
	// Stamp changes with the contents; nil is not known.
	Stamp *Stamp
}

// An ID tells the files of a tree apart.
type ID struct{ Dev, Ino uint64 }

// A Stamp is what a file system says of a file that changes with its contents.
type Stamp struct {
	ID           ID
	Size         int64
	Mtime, Ctime int64 // nanoseconds since the epoch
}

// Socket is the type of a file that no layer can hold.
const Socket = toc.Type(0xff)

// IsDir reports whether it is a directory.
func (f *File) IsDir() bool { return f.Entry.Type == toc.Dir }

// IsSymlink reports whether it is a symlink.
func (f *File) IsSymlink() bool { return f.Entry.Type == toc.Symlink }

// IsRegular reports whether it has contents.
func (f *File) IsRegular() bool { return f.Entry.Type == toc.Regular }

// ReadFile gives the contents of a file of at most limit bytes. Symlinks are
// followed, inside of the tree.
func ReadFile(ctx context.Context, t Tree, path string, limit int64) ([]byte, error) {
	f, err := resolve(t, path)
	if err != nil {
		return nil, err
	}
	if !f.IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", path)
	}
	if f.Entry.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes long; more than %d are not read", path, f.Entry.Size, limit)
	}
	c, err := t.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(io.NewSectionReader(c, 0, f.Entry.Size))
}
