package blob

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"mica/layerstore/inflate"
	"mica/layerstore/toc"
	"mica/layerstore/unzstd"
)

// fillChunks fills a span of a layer that is read by its own table of contents:
// each chunk is compared with its digest and handed out whole. The first time
// that a byte of a file is wanted, its tar header must say what the table says.
// A chunk that cannot be had spoils itself only; the error is that of the first.
func (r *Reader) fillChunks(ix *toc.Index, sp toc.Span, s *span) (n int, err error) {
	chunks, info := ix.Chunks(sp), ix.Info()
	start := info.Start()
	m := members{of: r, zstd: info.Codec == toc.ZstdChunked, in: -1}
	defer m.close()
	for i, c := range chunks {
		end := sp.InEnd // of the member
		for _, later := range chunks[i+1:] {
			if later.In > c.In {
				end = later.In
				break
			}
		}
		buf := s.buf[n : n+int(c.Len)]
		bad := r.checkHeader(ix, c, end, &m)
		if bad == nil {
			bad = m.chunk(c, end, buf)
		}
		if bad != nil {
			bad = r.fail(sp.Out+int64(n)-start, fmt.Errorf("chunk at %d of the blob: %w", c.In, bad))
			s.spoil(n, n+len(buf), bad)
			err = cmp.Or(err, bad)
		}
		n += len(buf)
		s.advance(n, nil)
	}
	if next, ok := ix.ChunkAfter(sp); ok && err == nil {
		r.lookAhead(ix, next, &m)
	}
	return n, err
}

// lookAhead compares the header of the file that is behind a span, if it goes
// on where m is: to come back for it would be to decode the last chunk again. What is
// wrong with it is found when that file is read.
func (r *Reader) lookAhead(ix *toc.Index, next toc.Chunk, m *members) {
	if next.File == toc.NoFile {
		return
	}
	if h := ix.Header(next.File); h.In == m.in && h.Skip >= m.pos {
		_ = r.checkHeader(ix, next, m.end, m)
	}
}

// checkHeader compares the header of the file that a chunk is of with the
// table, unless that was done before. end is where the chunk's member ends.
func (r *Reader) checkHeader(ix *toc.Index, c toc.Chunk, end int64, m *members) error {
	if c.File == toc.NoFile || r.headers.has(c.File) {
		return nil
	}
	h := ix.Header(c.File)
	var region io.Reader = m
	switch {
	case h.In < h.End:
		end = h.End
	case h.End < c.In:
		end = c.In
		fallthrough
	default:
		region = io.LimitReader(m, h.EndAt-h.Skip)
	}
	if err := m.seek(h.In, end, h.Skip); err != nil {
		return err
	}
	if err := toc.CheckHeader(region, h.Sum); err != nil {
		return err
	}
	r.headers.add(c.File)
	return nil
}

// members reads gzip members or zstd frames of a blob from any of them on, and
// goes on where it is if that leads to the place that is wanted.
type members struct {
	of   *Reader
	zstd bool
	in   int64 // where reading has begun; -1: nowhere
	end  int64
	pos  int64 // decoded bytes that were read since
	gz   *inflate.Reader
	zs   *unzstd.Reader
}

// chunk fills buf with a chunk whose member ends at end, and checks it.
func (m *members) chunk(c toc.Chunk, end int64, buf []byte) error {
	if err := m.seek(c.In, end, c.Skip); err != nil {
		return err
	}
	if _, err := io.ReadFull(m, buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if got := sha256.Sum256(buf); got != c.Sum {
		return fmt.Errorf("%d bytes do not match (want sha256 %x, got %x)", c.Len, c.Sum, got)
	}
	return nil
}

// seek goes to what lies skip decoded bytes behind the start of the member at
// in. Nothing at or behind end is read.
func (m *members) seek(in, end, skip int64) error {
	if m.in != in || m.end != end || m.pos > skip {
		if err := m.open(in, end); err != nil {
			return err
		}
	}
	_, err := io.CopyN(io.Discard, m, skip-m.pos)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (m *members) open(in, end int64) error {
	m.in, m.end, m.pos = -1, end, 0
	if m.zstd {
		if m.zs == nil {
			m.zs = unzstders.get()
		}
		m.zs.Reset(io.NewSectionReader(m.of.src, in, end-in), unzstd.Options{MaxWindow: maxChunkWindow})
	} else {
		if m.gz == nil {
			m.gz = inflaters.Get().(*inflate.Reader)
		}
		if err := m.gz.Resume(m.of.src, inflate.Point{In: in, Kind: inflate.AtMember}, end); err != nil {
			return err
		}
	}
	m.in = in
	return nil
}

// maxChunkWindow bounds the memory that a frame may ask for: no pass over the
// blob has seen it before. No compressor asks for more unless it is told to.
const maxChunkWindow = 32 << 20

func (m *members) Read(p []byte) (n int, err error) {
	switch {
	case m.of.closed.Load():
		return 0, os.ErrClosed
	case m.zstd:
		n, err = m.zs.Read(p)
	default:
		n, err = m.gz.Read(p)
	}
	m.pos += int64(n)
	return n, err
}

func (m *members) close() {
	if m.zs != nil {
		unzstders.put(m.zs)
	}
	if m.gz != nil {
		inflaters.Put(m.gz)
	}
}
