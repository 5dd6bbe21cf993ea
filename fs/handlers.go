package fs

import (
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"mica/overlay"
	"mica/overlay/writable"
)

// forever is how long the kernel may keep a name or an attribute: some 292
// years, which it shortens to what its own clock holds.
const forever = time.Duration(math.MaxInt64)

// blockSize is what programs are told to read and to count in.
const blockSize = 4096

// handlers answers requests out of a View. What is not answered here is
// answered ENOSYS by the embedded default, which the kernel takes as "never
// ask again" and does itself: OPEN, OPENDIR, FLUSH, RELEASE, FSYNC, ACCESS,
// STATX. (An ACCESS comes only without default_permissions, where all is
// allowed.)
type handlers struct {
	fuse.RawFileSystem
	view View
	log  *slog.Logger
	// noHandles is Options.NoHandles.
	noHandles bool

	// bare reports that no file like that one has an attribute of that name; nil
	// if the view cannot tell.
	bare func(id overlay.NodeID, name string) bool
	// fleeting is as in fleetingView; nil where no name is.
	fleeting func(overlay.NodeID) bool
	told     toldErrors

	read    atomic.Uint64 // bytes of files
	tracers tracers

	// closing is set when nobody waits for replies any more.
	closing atomic.Bool
}

func newHandlers(view View, log *slog.Logger) *handlers {
	h := &handlers{RawFileSystem: fuse.NewDefaultRawFileSystem(), view: view, log: log}
	if v, ok := feature[xattrRuler](view); ok {
		h.bare = func(id overlay.NodeID, name string) bool { return !v.MayHaveXattr(id, name) }
	}
	if v, ok := feature[fleetingView](view); ok {
		h.fleeting = v.Fleeting
	}
	return h
}

// raw is what go-fuse calls for a view.
func (h *handlers) raw() fuse.RawFileSystem {
	if w, ok := feature[*writable.View](h.view); ok {
		return &writableHandlers{h, w}
	}
	return h
}

func (h *handlers) String() string { return "mica" }

// panicked makes a panic of a handler an EIO for that one request.
func (h *handlers) panicked(reason any) fuse.Status {
	h.log.Error("internal error (bug)", slog.Any("panic", reason), slog.String("stack", string(debug.Stack())))
	return fuse.EIO
}

// node is the View's number of a request's node. Nothing is checked here: the
// View refuses numbers that it does not have.
func node(in *fuse.InHeader) overlay.NodeID {
	if in.NodeId == rootAlias {
		return overlay.Root
	}
	return overlay.NodeID(in.NodeId)
}

// Open has the kernel open files without asking, with their pages kept from
// one open to the next. go-fuse's default would be to agree to each.
func (h *handlers) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// Flush is go-fuse's other default that is not ENOSYS.
func (h *handlers) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Ioctl knows none. ENOSYS would be right as well, but is not for us to say.
func (h *handlers) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}

// StatFs tells a full file system of the image's size.
func (h *handlers) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	blocks, files := h.view.Statfs()
	out.Bsize, out.Frsize = blockSize, blockSize
	out.Blocks, out.Files = (blocks*512+blockSize-1)/blockSize, files
	out.NameLen = 255
	return fuse.OK
}
