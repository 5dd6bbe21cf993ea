package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/writable"
)

// writableHandlers answers requests out of a view that takes changes. What only
// reads is answered as for any other view.
//
// The kernel keeps what is written until it has to go (writeback cache), opens
// files without asking, and is the only one that changes the view, so that it
// may keep names and attributes for ever.
type writableHandlers struct {
	*handlers
	w *writable.View
}

// writableOptions is what the kernel is told beyond protocolOptions.
func writableOptions(o *fuse.MountOptions, w *writable.View) {
	o.ExtraCapabilities |= fuse.CAP_WRITEBACK_CACHE | fuse.CAP_DONT_MASK | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_SETXATTR_EXT
	// A number is good only as long as the kernel knows the node: no handles.
	withoutHandles(o)
	if w.CopiesAtOpen() {
		o.ExtraCapabilities |= fuse.CAP_ATOMIC_O_TRUNC // or what is cut off were copied first
	}
}

// caller is who asks for something to be made.
func caller(in *fuse.InHeader, umask uint32) writable.Caller {
	return writable.Caller{UID: in.Uid, GID: in.Gid, Umask: umask & 0o777, Request: in.Unique &^ resent, Again: in.Unique&resent != 0}
}

// resent is set in the number of a request that the kernel sends again
// (FUSE_UNIQUE_RESEND).
const resent = 1 << 63

// entered answers with a node that was made or found.
func (h *writableHandlers) entered(in *fuse.InHeader, op string, out *fuse.EntryOut, a overlay.Attr, err error) fuse.Status {
	if err != nil {
		return h.fail(in, op, err)
	}
	fillEntry(out, a)
	return fuse.OK
}

func (h *writableHandlers) done(in *fuse.InHeader, op string, err error) fuse.Status {
	if err != nil {
		return h.fail(in, op, err)
	}
	return fuse.OK
}

// Forget lets go of a node.
func (h *writableHandlers) Forget(nodeID, nlookup uint64) {
	h.w.Forget(overlay.NodeID(nodeID), nlookup)
}

// Lookup counts nodes that are found in other ways than by name as well.
func (h *writableHandlers) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	st := h.handlers.Lookup(cancel, in, name, out)
	if st.Ok() && (name == "." || name == "..") {
		h.w.Told(overlay.NodeID(out.NodeId))
	}
	return st
}

// ReadDirPlus tells the kernel of the nodes that it lists.
func (h *writableHandlers) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return h.readDirPlus(in, out, h.w.ReadDirPlus)
}

func (h *writableHandlers) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	a, err := h.w.Mknod(node(&in.InHeader), name, in.Mode, in.Rdev, caller(&in.InHeader, in.Umask))
	return h.entered(&in.InHeader, "mknod", out, a, err)
}

func (h *writableHandlers) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	a, err := h.w.Mkdir(node(&in.InHeader), name, in.Mode, caller(&in.InHeader, in.Umask))
	return h.entered(&in.InHeader, "mkdir", out, a, err)
}

func (h *writableHandlers) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	a, err := h.w.Symlink(node(in), name, target, caller(in, 0))
	return h.entered(in, "symlink", out, a, err)
}

func (h *writableHandlers) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	a, err := h.w.Link(overlay.NodeID(in.Oldnodeid), node(&in.InHeader), name, caller(&in.InHeader, 0))
	return h.entered(&in.InHeader, "link", out, a, err)
}

// Create is refused, so that the kernel makes files by MKNOD, which wants no
// open and no RELEASE; unless the view wants to be told of each open: then it
// saves that request.
func (h *writableHandlers) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if !h.w.CopiesAtOpen() {
		return fuse.ENOSYS
	}
	out.OpenOut.OpenFlags = fuse.FOPEN_KEEP_CACHE
	a, err := h.w.Mknod(node(&in.InHeader), name, unix.S_IFREG|in.Mode&0o7777, 0, caller(&in.InHeader, in.Umask))
	return h.entered(&in.InHeader, "create", &out.EntryOut, a, err)
}

// Open is refused, so that the kernel opens files without asking, unless the view
// wants to be told. There is nothing to remember of what is open.
func (h *writableHandlers) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !h.w.CopiesAtOpen() {
		return fuse.ENOSYS
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	err := h.w.OpenFile(node(&in.InHeader), in.Flags, in.Mode&fuse.OPEN_KILL_SUIDGID != 0)
	return h.done(&in.InHeader, "open", err)
}

// Tmpfile makes a file without a name and opens it.
func (h *writableHandlers) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	a, err := h.w.Tmpfile(node(&in.InHeader), in.Mode, caller(&in.InHeader, in.Umask))
	if err != nil {
		return h.fail(&in.InHeader, "tmpfile", err)
	}
	out.OpenOut.OpenFlags = fuse.FOPEN_KEEP_CACHE
	fillEntry(&out.EntryOut, a)
	return fuse.OK
}

func (h *writableHandlers) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return h.done(in, "unlink", h.w.Unlink(node(in), name, caller(in, 0)))
}

func (h *writableHandlers) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return h.done(in, "rmdir", h.w.Rmdir(node(in), name, caller(in, 0)))
}

func (h *writableHandlers) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	err := h.w.Rename(node(&in.InHeader), name, overlay.NodeID(in.Newdir), newName, in.Flags, caller(&in.InHeader, 0))
	return h.done(&in.InHeader, "rename", err)
}

// SetAttr changes what Valid names. The time of a change (ctime) is the upper's
// own to keep.
func (h *writableHandlers) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	a, err := h.w.SetAttr(node(&in.InHeader), change(&in.SetAttrInCommon))
	if err != nil {
		return h.fail(&in.InHeader, "setattr", err)
	}
	out.SetTimeout(forever)
	fillAttr(&out.Attr, a)
	return fuse.OK
}

func change(in *fuse.SetAttrInCommon) writable.Change {
	var c writable.Change
	if in.Valid&fuse.FATTR_MODE != 0 {
		c.Mode = &in.Mode
	}
	if in.Valid&fuse.FATTR_UID != 0 {
		c.UID = &in.Uid
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		c.GID = &in.Gid
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		size := int64(in.Size)
		c.Size, c.DropPrivileges = &size, in.Valid&fuse.FATTR_KILL_SUIDGID != 0
	}
	if in.Valid&fuse.FATTR_ATIME != 0 {
		c.Atime = &unix.Timespec{Sec: int64(in.Atime), Nsec: int64(in.Atimensec)}
		if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
			c.Atime = &unix.Timespec{Nsec: unix.UTIME_NOW}
		}
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		c.Mtime = &unix.Timespec{Sec: int64(in.Mtime), Nsec: int64(in.Mtimensec)}
		if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
			c.Mtime = &unix.Timespec{Nsec: unix.UTIME_NOW}
		}
	}
	return c
}

// Write writes whole or fails.
func (h *writableHandlers) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	drop := in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0
	if err := h.w.WriteAt(node(&in.InHeader), data, int64(in.Offset), drop); err != nil {
		return 0, h.fail(&in.InHeader, "write", err)
	}
	return uint32(len(data)), fuse.OK
}

// Writev leaves it to Write.
func (h *writableHandlers) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// Lseek leaves it to the kernel, to which all up to the end is data then. It asks
// without having written what it keeps (writeback), so that of a file that is
// open we would take for a hole what a program has just written, and who copies
// the file would lose it.
func (h *writableHandlers) Lseek(<-chan struct{}, *fuse.LseekIn, *fuse.LseekOut) fuse.Status {
	return fuse.ENOSYS
}

func (h *writableHandlers) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	err := h.w.Allocate(node(&in.InHeader), in.Mode, int64(in.Offset), int64(in.Length),
		func() bool { return keepsSetuid(&in.InHeader) })
	return h.done(&in.InHeader, "fallocate", err)
}

// CopyFileRange copies within the upper; for the rest the kernel does.
func (h *writableHandlers) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	n, err := h.w.Copy(node(&in.InHeader), int64(in.OffIn), overlay.NodeID(in.NodeIdOut), int64(in.OffOut),
		int(min(in.Len, 1<<30)), func() bool { return keepsSetuid(&in.InHeader) })
	if err != nil {
		return 0, h.fail(&in.InHeader, "copy_file_range", err)
	}
	return uint32(n), fuse.OK
}

func (h *writableHandlers) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	const dataOnly = 1 // FUSE_FSYNC_FDATASYNC
	return h.done(&in.InHeader, "fsync", h.w.Sync(node(&in.InHeader), in.FsyncFlags&dataOnly != 0))
}

func (h *writableHandlers) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return h.Fsync(cancel, in)
}

func (h *writableHandlers) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	dropSetgid := in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0
	err := h.w.SetXattr(node(&in.InHeader), name, value, in.Flags, dropSetgid, caller(&in.InHeader, 0))
	return h.done(&in.InHeader, "setxattr", err)
}

func (h *writableHandlers) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return h.done(in, "removexattr", h.w.RemoveXattr(node(in), name, caller(in, 0)))
}

// StatFs tells of the file system that the upper is on.
func (h *writableHandlers) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	st, err := h.w.Space()
	if err != nil {
		return fuse.Status(err.(syscall.Errno))
	}
	out.Blocks, out.Bfree, out.Bavail, out.Files, out.Ffree = st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree
	out.Bsize, out.Frsize, out.NameLen = uint32(st.Bsize), uint32(st.Frsize), 255
	return fuse.OK
}
