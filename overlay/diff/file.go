package diff

import (
	"context"
	"io"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A Side is one of the two trees that are compared. Its methods may be called
// concurrently.
type Side interface {
	// Lstat gives what is at a path, which may begin with a slash; "" is the
	// root. What is not there matches [io/fs.ErrNotExist].
	Lstat(path string) (*File, error)
	// ReadDir gives what is in a directory, sorted by the bytes of the names.
	ReadDir(dir *File) ([]*File, error)
	Opener
}

// An Opener has the contents of files. Its method may be called concurrently.
type Opener interface {
	// Open gives the contents of a regular file, to be read as long as ctx lasts.
	Open(ctx context.Context, f *File) (Contents, error)
}

// Contents are the bytes of a regular file. Close them.
type Contents interface {
	io.ReaderAt
	io.Closer
	// NextData gives the first offset from off on that is not in a hole, the
	// size of the file if there is none.
	NextData(off int64) (int64, error)
}

// A File is one name of a Side and all that is compared but its contents.
type File struct {
	Name         string // the last element of its path
	Mode         uint32 // S_IFMT and permission bits
	UID, GID     uint32
	Size         int64 // bytes; 0 of what is no regular file
	Mtime        toc.Time
	Major, Minor uint32 // of devices
	Target       string // of symlinks
	Xattrs       []toc.Xattr

	// place is where in what layer the contents lie; zero if that is not known.
	place place
	// Ref is what the Side knows the file by, which may be compared with ==.
	Ref any
}

// A place is the beginning of contents in a layer, and names those contents
// together with their size.
type place struct {
	holds    string // what the layer holds; "" is no place
	layer    int    // its number in this image
	layerOff int64
}

func (f *File) kind() uint32    { return f.Mode & unix.S_IFMT }
func (f *File) isDir() bool     { return f.kind() == unix.S_IFDIR }
func (f *File) isRegular() bool { return f.kind() == unix.S_IFREG }
func (f *File) isSymlink() bool { return f.kind() == unix.S_IFLNK }
