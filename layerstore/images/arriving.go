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
// arrives, out of the page cache.
type arriving struct {
	file   *os.File
	digest digest.Digest
	size   int64

	mu    sync.Mutex
	more  sync.Cond
	have  int64 // bytes from the front on
	ended error // nil is not yet; io.EOF when all is there
}

var _ blob.Source = (*arriving)(nil)

func newArriving(f *os.File, d digest.Digest, size, have int64) *arriving {
	a := &arriving{file: f, digest: d, size: size, have: have}
	a.more.L = &a.mu
	return a
}

func (a *arriving) ID() string  { return a.digest.String() }
func (a *arriving) Size() int64 { return a.size }

func (a *arriving) ReadAt(p []byte, off int64) (int, error) {
	end := min(off+int64(len(p)), a.size)
	a.mu.Lock()
	for a.have < end && a.ended == nil {
		a.more.Wait()
	}
	have, ended := a.have, a.ended
	a.mu.Unlock()
	if have < end {
		if ended == io.EOF {
			ended = io.ErrUnexpectedEOF
		}
		return 0, ended
	}
	return a.file.ReadAt(p, off)
}

// fill writes what r gives behind what is there, up to the size.
func (a *arriving) fill(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for off := a.have; off < a.size; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf[:min(int64(len(buf)), a.size-off)])
		if n > 0 {
			if _, err := a.file.WriteAt(buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
			a.mu.Lock()
			a.have = off
			a.mu.Unlock()
			a.more.Broadcast()
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

// end tells readers that no more will come.
func (a *arriving) end(err error) {
	if err == nil {
		err = io.EOF
	}
	a.mu.Lock()
	a.ended = err
	a.mu.Unlock()
	a.more.Broadcast()
}
