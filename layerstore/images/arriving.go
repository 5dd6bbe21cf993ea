package images

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/blob"
)

// arriving is a blob that is being written to a file: who reads waits for
// bytes that are not there yet. So it is hashed, inflated and indexed while it
// arrives, out of the page cache; or, where it is written past that, out of a
// window of memory that its last bytes stay in until they have been read: what
// is behind it is read from the file. Who fills it then waits for who reads,
// unless that one waits for bytes that are yet to come.
type arriving struct {
	out    *output
	digest digest.Digest
	size   int64
	base   int64 // where the first piece begins
	past   bool  // what is written goes past the page cache

	mu      sync.Mutex
	changed sync.Cond
	pieces  [windowPieces][]byte // number n, from base on, in n % windowPieces
	begun   int64                // how many there are
	have    int64                // bytes from the front on
	written int64                // of these, to the file
	failed  error                // of writing
	read    int64                // as far as they have been read without a gap
	wanted  int64                // that who waits waits for; 0 is nobody does
	ended   error                // nil is not yet; io.EOF when all is there
}

var _ blob.Source = (*arriving)(nil)

// The window of a blob that goes past the page cache. A piece is what is written
// at once.
const (
	pieceLen     = 1 << 20
	windowPieces = 4
)

// newArriving gives the blob of a descriptor, of which a file has that many bytes.
func newArriving(f *os.File, d ocispec.Descriptor, have int64) *arriving {
	compressed := strings.HasSuffix(d.MediaType, "gzip") || strings.HasSuffix(d.MediaType, "+zstd")
	a := &arriving{out: newOutput(f, d.Size-have, compressed), digest: d.Digest, size: d.Size, base: have, have: have, written: have}
	a.past = a.out.direct != nil
	a.changed.L = &a.mu
	return a
}

func (a *arriving) ID() string  { return a.digest.String() }
func (a *arriving) Size() int64 { return a.size }

func (a *arriving) ReadAt(p []byte, off int64) (int, error) {
	end := min(off+int64(len(p)), a.size)
	a.mu.Lock()
	for a.have < end && a.ended == nil {
		if a.wanted < end {
			a.wanted = end
			a.changed.Broadcast() // who fills may go on
		}
		a.changed.Wait()
	}
	if a.have < end {
		defer a.mu.Unlock()
		if a.ended == io.EOF {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, a.ended
	}
	n := -1
	if a.past {
		n = a.copyWindow(p[:max(end-off, 0)], off)
	}
	if n >= 0 {
		a.passed(off, off+int64(n))
		a.mu.Unlock()
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	a.mu.Unlock()
	n, err := a.out.file.ReadAt(p, off)
	a.mu.Lock()
	a.passed(off, off+int64(n))
	a.mu.Unlock()
	return n, err
}

// copyWindow gives bytes that are all in the window, or -1.
func (a *arriving) copyWindow(p []byte, off int64) int {
	if off < a.base || (off-a.base)/pieceLen < a.begun-windowPieces {
		return -1
	}
	n := 0
	for n < len(p) {
		at := off + int64(n) - a.base
		n += copy(p[n:], a.pieces[at/pieceLen%windowPieces][at%pieceLen:])
	}
	return n
}

// passed notes what has been read.
func (a *arriving) passed(off, end int64) {
	if off <= a.read && end > a.read {
		a.read = end
		a.changed.Broadcast()
	}
}

// fill writes what r gives behind what is there, up to the size. What has come
// is in the file when it returns, whole or not.
func (a *arriving) fill(ctx context.Context, r io.Reader) error {
	if !a.past {
		return a.fillThrough(ctx, r)
	}
	defer context.AfterFunc(ctx, a.wake)()
	queue := make(chan filled, windowPieces)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.write(queue)
	}()
	err := a.receive(ctx, r, queue)
	close(queue)
	<-done
	if a.failed != nil {
		return a.failed
	}
	return err
}

// fillThrough writes what comes as it comes, while it is in the processor's
// cache.
func (a *arriving) fillThrough(ctx context.Context, r io.Reader) error {
	buf := make([]byte, readLen)
	for off := a.have; off < a.size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf[:min(readLen, a.size-off)])
		if n > 0 {
			if err := a.out.write(buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
			a.came(n)
		}
		if err == io.EOF && off < a.size {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// came notes bytes that can be read.
func (a *arriving) came(n int) {
	a.mu.Lock()
	reached := a.wanted > a.have && a.wanted <= a.have+int64(n)
	a.have += int64(n)
	a.mu.Unlock()
	if reached {
		a.changed.Broadcast()
	}
}

// filled is a part of the blob on its way to the file.
type filled struct {
	b   []byte
	off int64
}

// receive fills piece after piece.
func (a *arriving) receive(ctx context.Context, r io.Reader, queue chan<- filled) error {
	for off := a.have; off < a.size; {
		piece, err := a.piece(ctx, off)
		if err != nil {
			return err
		}
		n, err := a.fillPiece(ctx, piece, r)
		queue <- filled{piece[:n], off} // never waits: there are no more pieces than it holds
		off += int64(n)
		if err == io.EOF && off < a.size {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// write writes pieces to the file, until one cannot be.
func (a *arriving) write(queue <-chan filled) {
	for p := range queue {
		if a.failed != nil {
			continue
		}
		err := a.out.write(p.b, p.off)
		a.mu.Lock()
		a.written, a.failed = p.off+int64(len(p.b)), err
		a.mu.Unlock()
		a.changed.Broadcast()
	}
}

// wake has who waits look again.
func (a *arriving) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed.Broadcast()
}

// piece gives the memory of the piece that begins at off, once what was in it
// has been written and read. It does not wait for who reads what a killed
// process has left, which takes longer than a registry waits.
func (a *arriving) piece(ctx context.Context, off int64) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := off - (windowPieces-1)*pieceLen // what was in it ends there
	unread := func() bool {
		return a.wanted <= a.have && a.read >= a.base && a.read < before
	}
	for ctx.Err() == nil && a.failed == nil && (a.written < before || unread()) {
		a.changed.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if a.failed != nil {
		return nil, a.failed
	}
	at := &a.pieces[a.begun%windowPieces]
	a.begun++
	if *at == nil {
		*at = aligned(int(min(pieceLen, a.size-a.base)))
	}
	return (*at)[:min(pieceLen, a.size-off)], nil
}

// fillPiece fills a piece, each part of which can be read as it comes.
func (a *arriving) fillPiece(ctx context.Context, piece []byte, r io.Reader) (n int, err error) {
	for n < len(piece) && err == nil {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		var k int
		k, err = r.Read(piece[n:min(n+readLen, len(piece))])
		n += k
		a.came(k)
	}
	return n, err
}

// readLen bounds what is read at once, in bytes: who hashes has to do meanwhile.
const readLen = 256 << 10

// end tells readers that no more will come.
func (a *arriving) end(err error) {
	if err == nil {
		err = io.EOF
	}
	a.mu.Lock()
	a.ended = err
	a.mu.Unlock()
	a.changed.Broadcast()
}
