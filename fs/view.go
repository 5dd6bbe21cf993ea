package fs

import (
	"context"

	"mica/overlay"
)

// A View is a directory tree that does not change. All methods may be called
// concurrently. Names are bytes, not necessarily UTF-8.
//
// It is an interface of more methods than a caller would ask for, because it
// is a file system: *overlay.View is one, the tests have others that are slow,
// wrong or panic on purpose.
type View interface {
	// Lookup finds one name in a directory. The error is [io/fs.ErrNotExist]
	// where there is none. The name is neither "." nor "..".
	Lookup(parent overlay.NodeID, name string) (overlay.Attr, error)
	Attr(id overlay.NodeID) (overlay.Attr, error)
	// Parent is what ".." of a directory is; of the root, the root.
	Parent(dir overlay.NodeID) (overlay.NodeID, error)
	// ReadDir emits the entries of a directory but for "." and "..", from
	// cookie on, 0 being the start, until emit returns false. next is the
	// cookie of what follows the entry.
	ReadDir(dir overlay.NodeID, cookie uint64, emit func(name string, a overlay.Attr, next uint64) bool) error
	Readlink(id overlay.NodeID) (string, error)
	// ReadAt fills p but for the end of the file, where n < len(p) and the
	// error is nil or io.EOF. An interrupted ctx ends it early with ctx.Err().
	ReadAt(ctx context.Context, id overlay.NodeID, p []byte, off int64) (int, error)
	// Cached reports whether ReadAt of these bytes needs neither decoding nor
	// fetching: then it is done in the loop, else by a worker.
	Cached(id overlay.NodeID, off int64, n int) bool
	// Xattr gives the value of an attribute, [overlay.ErrNoXattr] if there is none.
	Xattr(id overlay.NodeID, name string) ([]byte, error)
	Xattrs(id overlay.NodeID) ([]string, error)
	// SeekData and SeekHole are lseek(2)'s SEEK_DATA and SEEK_HOLE, with
	// [overlay.ErrPastEnd] where those have ENXIO.
	SeekData(id overlay.NodeID, off int64) (int64, error)
	SeekHole(id overlay.NodeID, off int64) (int64, error)
	// Statfs tells the size of the whole: blocks of 512 bytes, and nodes.
	Statfs() (blocks, files uint64)
}

// A wrapper is a View that shows another one with some attributes changed. What
// a view can do besides is looked for in what it wraps, too.
type wrapper interface{ Unwrap() View }

// feature gives what a view can do besides, if it can.
func feature[T any](v View) (T, bool) {
	for {
		if t, ok := v.(T); ok {
			return t, true
		}
		w, ok := v.(wrapper)
		if !ok {
			var none T
			return none, false
		}
		v = w.Unwrap()
	}
}

// A pather is a View that knows a path of each node.
type pather interface {
	Path(overlay.NodeID) (string, error)
}

// A lazyView is a View parts of which are made when they are looked at.
type lazyView interface {
	// Hold keeps a node ready until release is called. It is false for nodes about
	// which nothing is known at once: who asks has to wait, and should not be
	// waited for.
	Hold(overlay.NodeID) (release func(), ready bool)
	// Prepare is Hold that makes the node ready first, which takes long. It gives
	// up when ctx ends.
	Prepare(ctx context.Context, id overlay.NodeID) (release func(), err error)
}

// A fleetingView is a View with names that mean another node each time.
type fleetingView interface {
	// Fleeting reports whether the name of a node is not to be kept, though the
	// node itself may be.
	Fleeting(overlay.NodeID) bool
}

// An xattrRuler is a View that knows, without looking at each node, of names
// that no node has.
type xattrRuler interface {
	// MayHaveXattr is false only if the node has no attribute of that name, and
	// none of those that are found below it; of [overlay.Root] it is so for all
	// that are listed.
	MayHaveXattr(id overlay.NodeID, name string) bool
}
