package fs

import "github.com/hanwen/go-fuse/v2/fuse"

// GetXAttr copies the value into dest; with an empty dest it tells the length.
func (h *handlers) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	value, err := h.view.Xattr(node(in), name)
	if err != nil {
		return 0, h.fail(in, "getxattr", err)
	}
	return giveXattr(dest, value)
}

// ListXAttr copies the names, each ended by a NUL, into dest.
func (h *handlers) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	names, err := h.view.Xattrs(node(in))
	if err != nil {
		return 0, h.fail(in, "listxattr", err)
	}
	var list []byte
	for _, name := range names {
		list = append(list, name...)
		list = append(list, 0)
	}
	return giveXattr(dest, list)
}

// giveXattr answers both forms of the question: how long (ERANGE with the
// length, which go-fuse turns into the answer if no buffer was offered), and what.
func giveXattr(dest, value []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	copy(dest, value)
	return uint32(len(value)), fuse.OK
}
