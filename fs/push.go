package fs

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"mica/overlay"
)

// A small file costs its reader a round trip, 20 to 40 µs, nearly all of it the
// change of threads. So when files are read in the order in which they lie in a
// directory, the contents of those that come next are put into the kernel's
// cache (FUSE_NOTIFY_STORE), some 5 µs each, before the reply that lets the
// reader go on. What nobody uses is bounded: nothing is decoded for it, and only
// a window that was used up is followed by a larger one.
//
// The kernel locks the pages that it stores into, and waits for who has locked
// them: a reader, until its own request is answered. No signal ends that wait, and
// neither unmounting nor sync(2) gets past it. Four things are so because of it:
//
//   - Files are pushed while the one reader that wants them waits for a reply, so
//     that it has none of them locked. (Pushed beside the reader they were as
//     fast, and met its locks all the time.)
//   - A file that somebody else is reading is left out, as far as that is known.
//   - It is done by a worker. Should it wait, the loop answers who is waited for.
//   - If the server is killed meanwhile, the next one does; so there has to be one
//     (control.go).
//
// And what a program has just written lies in the same pages, of which a server
// does not know yet: only views that do not change are pushed from.

const (
	// pushMost is how many bytes a file may have to be pushed.
	pushMost = 64 << 10

	notifyStore = 4       // FUSE_NOTIFY_STORE
	storeLen    = 16 + 24 // struct fuse_out_header, fuse_notify_store_out
)

// A pusher pushes small files. Its methods may be called concurrently.
type pusher struct {
	view  View
	order sequentialView
	fd    int
	// reading reports whether a worker has a READ of a file.
	reading func(overlay.NodeID) bool
	// may says that another server would take over if this one is killed.
	may   atomic.Bool
	files atomic.Uint64 // that were pushed
	bytes atomic.Uint64
	bufs  sync.Pool // of *[]byte, as long as the longest message

	mu      sync.Mutex
	streams streams
}

func newPusher(view View, order sequentialView, fd int, reading func(overlay.NodeID) bool) *pusher {
	p := &pusher{view: view, order: order, fd: fd, reading: reading}
	p.bufs.New = func() any { b := make([]byte, storeLen+pushMost); return &b }
	return p
}

// asked is told of each read from the start of a file. It gives the stream whose
// next window is to be pushed before the reply; nil if none is.
func (p *pusher) asked(id overlay.NodeID) *stream {
	if !p.may.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streams.asked(id, p.order)
}

// push pushes the next window of a stream that asked gave.
func (p *pusher) push(s *stream) {
	buf := p.bufs.Get().(*[]byte)
	defer p.bufs.Put(buf)
	last, bytes := s.last, int64(0)
	for range s.window {
		id, size := p.order.NextFile(last)
		if id == 0 || size > pushMost || bytes+size > windowBytes || !p.may.Load() || p.reading(id) {
			break
		}
		// ENOENT: the kernel does not know it. Errors of the data are for who asks.
		if !p.view.Cached(id, 0, int(size)) || p.store(id, (*buf)[:storeLen+size]) != nil {
			break
		}
		p.files.Add(1)
		last, bytes = id, bytes+size
	}
	p.bytes.Add(uint64(bytes))
	p.mu.Lock()
	defer p.mu.Unlock()
	s.last, s.busy = last, false
}

// store puts a file into the kernel's cache, whole: the rest of its last page is
// zeros only if what is stored ends where the file does. msg is as long as the
// message is.
func (p *pusher) store(id overlay.NodeID, msg []byte) error {
	data := msg[storeLen:]
	if n, err := p.view.ReadAt(context.Background(), id, data, 0); n < len(data) {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	putOutHeader(msg, uint32(len(msg)), notifyStore, 0)
	putStore(msg[outHeaderLen:], id, uint32(len(data)))
	_, err := syscall.Write(p.fd, msg)
	return err
}

// putStore writes a struct fuse_notify_store_out, for bytes from the start of a
// file on.
func putStore(b []byte, id overlay.NodeID, size uint32) {
	binary.NativeEndian.PutUint64(b[0:], uint64(id))
	binary.NativeEndian.PutUint64(b[8:], 0) // offset
	binary.NativeEndian.PutUint32(b[16:], size)
	binary.NativeEndian.PutUint32(b[20:], 0) // padding
}
