package fs

import (
	"errors"
	"io"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Read fills buf, which lies in the reply, with the file's bytes.
func (h *handlers) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if h.closing.Load() {
		return nil, fuse.EINTR
	}
	ctx := &fuse.Context{Caller: in.Caller, Cancel: cancel}
	id := node(&in.InHeader)
	h.tracers.touch(id)
	n, err := h.view.ReadAt(ctx, id, buf, int64(in.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, h.fail(&in.InHeader, "read", err)
	}
	h.read.Add(uint64(n))
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Lseek finds data and holes; the kernel does the other kinds itself.
func (h *handlers) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	seek := h.view.SeekData
	switch in.Whence {
	case unix.SEEK_DATA:
	case unix.SEEK_HOLE:
		seek = h.view.SeekHole
	default:
		return fuse.EINVAL
	}
	off, err := seek(node(&in.InHeader), int64(in.Offset))
	if err != nil {
		return h.fail(&in.InHeader, "lseek", err)
	}
	out.Offset = uint64(off)
	return fuse.OK
}
