package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"mica/layerstore/toc"
)

// A Reader gives the uncompressed bytes of one layer. Its methods may be
// called concurrently.
type Reader struct {
	src   Source
	cache *Cache
	open  func(context.Context) (*toc.Index, error)

	fills  sync.WaitGroup // one for each span that is being decoded
	closed atomic.Bool

	headers fileSet // of the files whose tar header is what the table says

	mu    sync.Mutex
	index *toc.Index
}

// NewReader gives a reader of the layer that src holds. open gives its index;
// it is called at the first read, and again after it failed. The index and src
// stay the caller's, to be closed when the reader is no longer used.
func NewReader(src Source, cache *Cache, open func(context.Context) (*toc.Index, error)) *Reader {
	return &Reader{src: countedSource{src, &cache.count.stored}, cache: cache, open: open}
}

// Index gives the index of the layer.
func (r *Reader) Index(ctx context.Context) (*toc.Index, error) {
	r.mu.Lock()
	ix := r.index
	r.mu.Unlock()
	if ix != nil {
		return ix, nil
	}
	// Not under the lock: this may wait for a verification or read a file.
	ix, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.index == nil {
		r.index = ix
	}
	return r.index, nil
}

// ReadAt fills p with the bytes of the layer from off on. At the end of the
// layer it gives fewer and io.EOF. Bytes that cannot be had, or do not match
// their checksum, are a *DataError.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	ix, err := r.Index(ctx)
	if err != nil {
		return 0, r.fail(off, err)
	}
	n := 0
	info := ix.Info()
	if off < info.Start() {
		return 0, r.fail(off, errors.New("no byte of the layer: its index was made anew"))
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= info.End() {
			return n, io.EOF
		}
		k, err := r.readSpan(ctx, ix, ix.SpanAt(at), p[n:], at)
		n += k
		if err != nil {
			return n, r.fail(at, err)
		}
	}
	return n, nil
}

// readSpan fills p with the bytes from off on as far as the span, or the piece
// of it that is cached by itself, has them.
func (r *Reader) readSpan(ctx context.Context, ix *toc.Index, number int, p []byte, off int64) (int, error) {
	sp := ix.Span(number)
	key, start, size := r.part(ix, sp, number, off)
	s, err := r.cache.get(key, size, func(s *span) {
		if pieced(ix) {
			r.wantLocked(ix, sp, s)
			return
		}
		r.fills.Go(func() { r.fill(ix, sp, s) })
	})
	if err != nil {
		return 0, err
	}
	defer r.cache.release(s)
	if pieced(ix) {
		r.ahead(ix, sp, key)
	}
	from := int(off - start)
	to := min(from+len(p), len(s.buf))
	if err := s.wait(ctx, from, to); err != nil {
		return 0, err
	}
	return copy(p, s.buf[from:to]), nil
}

// part gives what the cache has the byte at off under: its key, where it begins
// and its length.
func (r *Reader) part(ix *toc.Index, sp toc.Span, number int, off int64) (key spanKey, start int64, size int) {
	key = spanKey{reader: r, number: number}
	if !pieced(ix) {
		return key, sp.Out, int(sp.Len())
	}
	key.piece = int((off - sp.Out) / pieceLen)
	return key, sp.Out + int64(key.piece)*pieceLen, pieceSize(sp, key.piece)
}

// pieced says whether spans are cached by pieces: those of zstd are long, as a
// checkpoint in it is large.
func pieced(ix *toc.Index) bool { return ix.Info().Codec == toc.Zstd && !wholeSpans }

// wholeSpans is for tests: the slow twin of what is cached by pieces.
var wholeSpans bool

// Close ends what still decodes ahead of its readers, waits for it, and gives
// back what the reader has in the cache. Nobody may read any more; the index
// and the sources can be closed after it.
func (r *Reader) Close() {
	r.closed.Store(true)
	r.fills.Wait()
	r.cache.dropAll(r)
}

// Cached says whether the n bytes from off on can be read without waiting.
func (r *Reader) Cached(off int64, n int) bool {
	r.mu.Lock()
	ix := r.index
	r.mu.Unlock()
	if ix == nil {
		return false
	}
	info := ix.Info()
	if off < info.Start() {
		return false
	}
	end := min(off+int64(n), info.End())
	for off < end {
		number := ix.SpanAt(off)
		sp := ix.Span(number)
		key, start, size := r.part(ix, sp, number, off)
		s := r.cache.peek(key)
		if s == nil {
			return false
		}
		ready := s.has(int(min(end-start, int64(size))))
		r.cache.release(s)
		if !ready {
			return false
		}
		off = start + int64(size)
	}
	return true
}

// fail wraps an error of the data; a cancelled context is the caller's own.
func (r *Reader) fail(off int64, err error) error {
	if data := (*DataError)(nil); errors.As(err, &data) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &DataError{Blob: r.src.ID(), Offset: off, Err: err}
}

// fill decodes a span, checks each part of it and hands it out at once, so
// that a reader waits only for what it asked for.
func (r *Reader) fill(ix *toc.Index, sp toc.Span, s *span) {
	r.cache.decoding <- struct{}{}
	defer func() { <-r.cache.decoding }()
	defer r.cache.release(s)
	r.cache.count.spans.Add(1)
	fill := r.fillBlocks
	if ix.Info().Codec.Chunked() {
		fill = r.fillChunks
	}
	n, err := fill(ix, sp, s)
	r.cache.count.decoded.Add(uint64(n))
	if err != nil {
		r.cache.drop(s)
		err = r.fail(sp.Out+int64(n), err)
	}
	s.advance(n, err)
}

// fillBlocks fills a span whose blocks have checksums in the index, and gives
// how many bytes of it are right.
func (r *Reader) fillBlocks(ix *toc.Index, sp toc.Span, s *span) (n int, err error) {
	err = r.decode(ix, sp, func(dec io.Reader) error {
		n, err = r.checked(ix, sp, 0, dec, s)
		return err
	})
	return n, err
}

// checked fills s with what dec gives, blocks of the span sp from first on, and
// gives how many bytes are right.
func (r *Reader) checked(ix *toc.Index, sp toc.Span, first int, dec io.Reader, s *span) (n int, err error) {
	for b := first; n < len(s.buf); b++ {
		if r.closed.Load() {
			return n, os.ErrClosed
		}
		block := s.buf[n:min(n+toc.BlockLen, len(s.buf))]
		if _, err := io.ReadFull(dec, block); err != nil {
			return n, noEOF(err)
		}
		if got, want := toc.Checksum(block), ix.Sum(sp, b); got != want {
			at := sp.Out + int64(b)*toc.BlockLen
			return n, fmt.Errorf("bytes %d-%d do not match (want crc32c %08x, got %08x)", at, at+int64(len(block)), want, got)
		}
		n += len(block)
		if n < len(s.buf) {
			s.advance(n, nil)
		}
	}
	return n, nil
}

// noEOF: where bytes are due, the end is not expected.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
