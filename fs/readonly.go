package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What would change a read-only view. The kernel refuses by itself as long as
// the mount has its ro flag; these stand behind a `mount -o remount,rw`.

const readOnly = fuse.Status(syscall.EROFS)

func (h *handlers) SetAttr(<-chan struct{}, *fuse.SetAttrIn, *fuse.AttrOut) fuse.Status {
	return readOnly
}

func (h *handlers) Mknod(<-chan struct{}, *fuse.MknodIn, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

func (h *handlers) Mkdir(<-chan struct{}, *fuse.MkdirIn, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

func (h *handlers) Unlink(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return readOnly }

func (h *handlers) Rmdir(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return readOnly }

func (h *handlers) Rename(<-chan struct{}, *fuse.RenameIn, string, string) fuse.Status {
	return readOnly
}

func (h *handlers) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

func (h *handlers) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

func (h *handlers) SetXAttr(<-chan struct{}, *fuse.SetXAttrIn, string, []byte) fuse.Status {
	return readOnly
}

func (h *handlers) RemoveXAttr(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return readOnly }

func (h *handlers) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return readOnly
}

func (h *handlers) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return readOnly
}

func (h *handlers) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, readOnly
}

func (h *handlers) Fallocate(<-chan struct{}, *fuse.FallocateIn) fuse.Status { return readOnly }
