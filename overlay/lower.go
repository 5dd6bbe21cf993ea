package overlay

import "context"

// A Lower is a read-only tree under a writable layer: the merged view of an
// image, or a union of directories. It does not change while it is used, and
// all methods may be called concurrently. Node numbers are what programs see as
// st_ino, below [UpperNodes] or with other high bits than it; the root is
// [Root]. Errors are those of [View].
type Lower interface {
	Lookup(dir NodeID, name string) (Attr, error)
	Attr(id NodeID) (Attr, error)
	Parent(dir NodeID) (NodeID, error)
	ReadDir(dir NodeID, cookie uint64, emit func(name string, a Attr, next uint64) bool) error
	Readlink(id NodeID) (string, error)
	ReadAt(ctx context.Context, id NodeID, p []byte, off int64) (int, error)
	Cached(id NodeID, off int64, n int) bool
	Xattr(id NodeID, name string) ([]byte, error)
	Xattrs(id NodeID) ([]string, error)
	SeekData(id NodeID, off int64) (int64, error)
	SeekHole(id NodeID, off int64) (int64, error)
	Statfs() (blocks, files uint64)
	// Path gives the path of a directory from the root, "/" being the root.
	Path(dir NodeID) (string, error)
	// Links gives the places of all names of a node that is no directory.
	Links(id NodeID) ([]Link, error)
}

// A Link is one name of a node.
type Link struct {
	Dir  NodeID
	Name string
}

// UpperNodes is the bit that tells the numbers of nodes that only an upper has
// from those of lower ones: a lower's numbers keep it clear.
const UpperNodes NodeID = 1 << 48

var _ Lower = (*View)(nil)
