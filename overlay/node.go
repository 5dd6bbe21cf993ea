package overlay

import (
	"errors"

	"mica/layerstore/toc"
)

// A NodeID is the number of an inode: its place in the tree file plus one, as
// it is told to the kernel and to programs (st_ino). 0 is no node.
type NodeID uint64

// Root is the node of the root directory.
const Root NodeID = 1

// Attr is what stat(2) tells of a node.
type Attr struct {
	ID     NodeID
	Mode   uint32 // S_IFMT and permission bits
	Nlink  uint32
	UID    uint32
	GID    uint32
	Rdev   uint32 // of devices, as FUSE has it: minor bits 0–7 and 20–31, major 8–19
	Size   int64  // bytes; of a symlink, of its target
	Blocks int64  // of 512 bytes, holes left out
	// An image has no times of access and change: there they are Mtime.
	Atime, Mtime, Ctime toc.Time
}

// SetTimes sets all times to one.
func (a *Attr) SetTimes(t toc.Time) { a.Atime, a.Mtime, a.Ctime = t, t, t }

// ErrNoXattr says that a node has no extended attribute of that name.
var ErrNoXattr = errors.New("no such attribute")

// ErrNotDir says that a node is no directory.
var ErrNotDir = errors.New("not a directory")

// ErrPastEnd says that there is neither data nor hole at or after an offset.
var ErrPastEnd = errors.New("offset past the end of the file")
