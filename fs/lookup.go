package fs

import (
	"errors"
	iofs "io/fs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// Lookup resolves one name in one directory; symlinks are the kernel's
// business. "." and ".." come when a file handle (name_to_handle_at) is opened
// whose node the kernel has forgotten.
func (h *handlers) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	attr, err := h.find(node(in), name)
	if errors.Is(err, iofs.ErrNotExist) {
		// Node 0 is a name known to be absent, which may be kept as well.
		out.SetEntryTimeout(forever)
		return fuse.OK
	}
	if err != nil {
		return h.fail(in, "lookup", err)
	}
	fillEntry(out, attr)
	if h.fleeting != nil && h.fleeting(attr.ID) {
		out.SetEntryTimeout(0)
	}
	return fuse.OK
}

func (h *handlers) find(dir overlay.NodeID, name string) (overlay.Attr, error) {
	switch name {
	case ".":
		return h.view.Attr(dir)
	case "..":
		parent, err := h.view.Parent(dir)
		if err != nil {
			return overlay.Attr{}, err
		}
		return h.view.Attr(parent)
	}
	return h.view.Lookup(dir, name)
}

// Forget has nothing to give back: a node number is good for the life of the view.
func (h *handlers) Forget(nodeID, nlookup uint64) {}

// GetAttr is stat(2) of a node.
func (h *handlers) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	attr, err := h.view.Attr(node(&in.InHeader))
	if err != nil {
		return h.fail(&in.InHeader, "getattr", err)
	}
	out.SetTimeout(forever)
	fillAttr(&out.Attr, attr)
	return fuse.OK
}

// Readlink gives a symlink's target.
func (h *handlers) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	target, err := h.view.Readlink(node(in))
	if err != nil {
		return nil, h.fail(in, "readlink", err)
	}
	if len(target) >= unix.PathMax {
		return nil, fuse.Status(unix.ENAMETOOLONG) // the kernel has no room for it
	}
	return []byte(target), fuse.OK
}

func fillEntry(out *fuse.EntryOut, a overlay.Attr) {
	out.NodeId = uint64(a.ID)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	fillAttr(&out.Attr, a)
}

// fillAttr tells all of a node's attributes. Times before 1970 go as the two's
// complement that the kernel reads them as.
func fillAttr(out *fuse.Attr, a overlay.Attr) {
	*out = fuse.Attr{
		Ino:       uint64(a.ID),
		Size:      uint64(a.Size),
		Blocks:    uint64(a.Blocks),
		Atime:     uint64(a.Atime.Sec),
		Mtime:     uint64(a.Mtime.Sec),
		Ctime:     uint64(a.Ctime.Sec),
		Atimensec: a.Atime.Nsec,
		Mtimensec: a.Mtime.Nsec,
		Ctimensec: a.Ctime.Nsec,
		Mode:      a.Mode,
		Nlink:     a.Nlink,
		Owner:     fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:      a.Rdev,
		Blksize:   blockSize,
	}
}
