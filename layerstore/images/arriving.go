package images

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"mica/layerstore/blob"
)

// arriving is a blob that is being written to a file: who reads waits for
// bytes that are not there yet. So it is hashed, inflated and indexed while it
// arrives, out of a window of memory that its last bytes stay in until they
// have been read; what is behind it is read from the file. Who fills it waits
// for who reads, unless he waits for bytes that are yet to come.
type arriving struct {
	out    *output
	digest digest.Digest
	size   int64
	base   int64 // where the first piece begins

	mu      sync.Mutex
	changed sync.Cond
	pieces  [windowPieces][]byte // number n, from base on, in n % windowPieces
	begun   int64                // how many there are
	have    int64                // bytes from the front on
	read    int64                // as far as they have been read without a gap
	waiting int                  // how many wait for bytes that have not come
	ended   error                // nil is not yet; io.EOF when all is there
}

var _ blob.Source = (*arriving)(nil)

// The window of an arriving blob. A piece is what is written at once.
const (
	pieceLen     = 1 << 20
	windowPieces = 4
)

// newArriving gives the blob of which a file has that many bytes.
func newArriving(f *os.File, d digest.Digest, size, have int64) *arriving {
	a := &arriving{out: newOutput(f, size-have), digest: d, size: size, base: have, have: have}
	a.changed.L = &a.mu
	return a
}

func (a *arriving) ID() string  { return a.digest.String() }
func (a *arriving) Size() int64 { return a.size }

func (a *arriving) ReadAt(p []byte, off int64) (int, error) {
	end := min(off+int64(len(p)), a.size)
	a.mu.Lock()
	for a.have < end && a.ended == nil {
		a.waiting++
		a.changed.Broadcast()
		a.changed.Wait()
		a.waiting--
	}
	if a.have < end {
		defer a.mu.Unlock()
		if a.ended == io.EOF {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, a.ended
	}
	n := a.copyWindow(p[:max(end-off, 0)], off)
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
	defer context.AfterFunc(ctx, a.wake)()
	for off := a.have; off < a.size; {
		piece, err := a.piece(ctx, off)
		if err != nil {
			return err
		}
		n, err := a.fillPiece(ctx, piece, r)
		if werr := a.out.write(piece[:n], off); werr != nil {
			return werr
		}
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

// wake has who waits look again.
func (a *arriving) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed.Broadcast()
}

// piece gives the memory of the piece that begins at off, once what was in it
// has been read. It does not wait for who reads what a killed process has left,
// which takes longer than a registry waits.
func (a *arriving) piece(ctx context.Context, off int64) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ctx.Err() == nil && a.waiting == 0 && a.read >= a.base && a.read < off-(windowPieces-1)*pieceLen {
		a.changed.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
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
		a.mu.Lock()
		a.have += int64(k)
		a.mu.Unlock()
		a.changed.Broadcast()
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
