package dirs

import (
	"context"

	"mica/overlay"
)

// A folder is a directory of one layer. Its methods may be called concurrently.
type folder interface {
	// level is the number of its layer, 0 being the topmost.
	level() int
	// stat tells of a name, "." being the folder itself. The error is
	// [io/fs.ErrNotExist] where the layer says nothing of it. A whiteout, which
	// says that there is none in the layers below either, has no other meaning.
	stat(name string) (a overlay.Attr, whiteout bool, err error)
	// each emits all names in any order.
	each(emit func(entry) error) error
	// sub gives a directory in it, and what that says of those below.
	sub(name string) (folder, merging, error)
	// file gives what stands for a name in it, which is no whiteout.
	file(name string, a overlay.NodeID) file
}

// An entry is a name in a folder.
type entry struct {
	name     string
	kind     uint32 // S_IFMT
	whiteout bool
	id       overlay.NodeID // of a directory as the union may know another one
}

// merging is what a directory or file says of what it is merged with.
type merging struct {
	opaque   bool
	redirect string // "" is: of the same name
}

// A file is one of any type in one layer.
type file interface {
	readlink() (string, error)
	xattr(name string) ([]byte, error)
	xattrs() ([]string, error)
	readAt(ctx context.Context, p []byte, off int64) (int, error)
	cached(off int64, n int) bool
	seek(off int64, whence int) (int64, error)
	blocks() (int64, error) // of 512 bytes
	// metacopy reports whether its contents are those of a file below it, and
	// where that is.
	metacopy() (bool, merging, error)
}
