package layerstore

import (
	"context"
	"io"
	"sync/atomic"
)

// A fanout hands each chunk of a stream to several consumers, which work side
// by side. Its chunks are used again: memory is bounded, and the slowest
// consumer sets the pace.
type fanout struct {
	free chan *chunk
	outs []chan *chunk
}

const (
	chunkLen = 512 << 10
	chunks   = 6 // in one fanout
)

// A chunk is a run of a stream's bytes. It belongs to its consumers until each
// has released it.
type chunk struct {
	buf   []byte // of chunkLen
	data  []byte // the used part of buf
	owner *fanout
	users atomic.Int32
}

func newFanout(consumers int) *fanout {
	f := &fanout{free: make(chan *chunk, chunks), outs: make([]chan *chunk, consumers)}
	for range chunks {
		f.free <- &chunk{owner: f}
	}
	for i := range f.outs {
		f.outs[i] = make(chan *chunk, chunks)
	}
	return f
}

// get gives an empty chunk.
func (f *fanout) get(ctx context.Context) (*chunk, error) {
	select {
	case c := <-f.free:
		if c.buf == nil {
			c.buf = make([]byte, chunkLen)
		}
		c.data = nil
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// send gives a chunk to all consumers. It never waits: there are no more
// chunks than a channel holds.
func (f *fanout) send(c *chunk) {
	c.users.Store(int32(len(f.outs)))
	for _, out := range f.outs {
		out <- c
	}
}

// close tells the consumers that no more will come. It is not called after an
// error: consumers end with the context then, while an end that came too early
// would be an error of theirs that hides the cause.
func (f *fanout) close() {
	for _, out := range f.outs {
		close(out)
	}
}

func (c *chunk) release() {
	if c.users.Add(-1) == 0 {
		c.owner.free <- c
	}
}

// each calls use with the chunks of consumer number i until the stream ends.
func (f *fanout) each(ctx context.Context, i int, use func([]byte) error) error {
	r := f.reader(ctx, i)
	for {
		if err := r.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := use(r.cur.data); err != nil {
			return err
		}
		r.rest = nil
	}
}

// reader gives the stream of consumer number i as an io.Reader, which is also
// a toc.Source.
func (f *fanout) reader(ctx context.Context, i int) *chunkReader {
	return &chunkReader{ctx: ctx, in: f.outs[i]}
}

type chunkReader struct {
	ctx  context.Context // of the pass that this reader is a part of
	in   <-chan *chunk
	cur  *chunk
	rest []byte // what of cur is still to be read
	pos  int64  // in the stream
}

// fill makes rest not empty.
func (r *chunkReader) fill() error {
	for len(r.rest) == 0 {
		if r.cur != nil {
			r.cur.release()
			r.cur = nil
		}
		select {
		case c, ok := <-r.in:
			if !ok {
				return io.EOF
			}
			r.cur, r.rest = c, c.data
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	return nil
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.pos += int64(n)
	return n, nil
}

// Skip passes over n bytes, as toc.Source wants it.
func (r *chunkReader) Skip(n int64) (int64, error) {
	for left := n; left > 0; {
		if err := r.fill(); err != nil {
			return n - left, err
		}
		k := min(left, int64(len(r.rest)))
		r.rest = r.rest[k:]
		r.pos += k
		left -= k
	}
	return n, nil
}

// drain reads to the end of the stream.
func (r *chunkReader) drain() error {
	_, err := r.Skip(1<<63 - 1)
	if err == io.EOF {
		return nil
	}
	return err
}
