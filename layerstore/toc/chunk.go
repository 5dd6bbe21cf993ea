package toc

import (
	"encoding/binary"
)

// A Chunk is a part of a file in a layer that is read by a table of contents
// of its own, as eStargz and zstd:chunked have it: where it can be decoded by
// itself, and the digest that the table promises.
//
// Where it lies in the uncompressed layer is not known. In its place is a
// space in which the contents of chunks lie one after the other from
// [Info.Start] on; that is what [Entry.Off] and [Span.Out] of such a layer mean.
type Chunk struct {
	In   int64 // the gzip member or zstd frame that decoding begins with
	Skip int64 // decoded bytes of it that come before, at most MaxSkip
	Len  int64 // bytes, 1 to MaxChunk
	// File is the number of the header of the file, for [Index.Header], or
	// NoFile if it is one that is not shown.
	File int
	Sum  [32]byte // SHA-256
}

const (
	// MaxChunk is the length of the longest chunk: it is held in memory before
	// any byte of it can be handed out.
	MaxChunk = 8 << 20
	// MaxSkip bounds what is decoded and dropped to reach a chunk.
	MaxSkip = 16 << 20
	NoFile  = 1<<32 - 1
)

// A Header says where the tar header of a file lies whose metadata come from
// a table, and what it must say: it is the last one in a part of the tar.
type Header struct {
	In, Skip   int64    // where that part begins, as of a Chunk
	End, EndAt int64    // where it ends: at most EndAt bytes into the member at End
	Sum        [32]byte // for CheckHeader
}

// Chunked says that spans consist of chunks.
func (c Codec) Chunked() bool { return c == EStargz || c == ZstdChunked }

// chunkStart is where contents lie in the space of chunks. No tar is so long:
// an offset out of a tree that was made of another index than the one at hand,
// with chunks or without, is outside of the layer and never other bytes.
const chunkStart = 1 << 46

// Start is the offset of the first byte of the layer.
func (i *Info) Start() int64 {
	if i.Codec.Chunked() {
		return chunkStart
	}
	return 0
}

// End is the offset behind the last byte of the layer.
func (i *Info) End() int64 { return i.Start() + i.LayerSize }

// The sections of an index hold for such a layer, in place of windows, its
// headers, and in place of sums, its chunks.
const (
	secHeaders = secWindows
	secChunks  = secSums
	chunkLen   = 8 + 4 + 4 + 4 + 32
	fileLen    = 4*8 + 32
)

// Chunks that lie side by side make a span up to these bounds.
const (
	chunkRun  = 256 << 10 // bytes
	maxChunks = 128
)

// AddChunk appends the next chunk in the order of the blob.
func (w *Writer) AddChunk(c Chunk) {
	le := binary.LittleEndian
	b := le.AppendUint64(w.chunks, uint64(c.In))
	b = le.AppendUint32(b, uint32(c.Skip))
	b = le.AppendUint32(b, uint32(c.Len))
	b = le.AppendUint32(b, uint32(c.File))
	w.chunks = append(b, c.Sum[:]...)
}

// AddHeader appends a header, which must say what e does, and gives its number.
func (w *Writer) AddHeader(h Header, e *Entry) int {
	le := binary.LittleEndian
	n := int(w.windows.n / fileLen)
	b := w.window[:0]
	for _, v := range []int64{h.In, h.Skip, h.End, h.EndAt} {
		b = le.AppendUint64(b, uint64(v))
	}
	h.Sum = headerSum(e)
	w.window = append(b, h.Sum[:]...)
	w.windows.add(w.window)
	return n
}

// FinishChunks makes spans of the chunks; the last member or frame with one
// ends before end.
func (w *Writer) FinishChunks(end int64) {
	n := len(w.chunks) / chunkLen
	var spans []pointRecord
	out := int64(chunkStart)
	for first := 0; first < n; {
		c := getChunk(w.chunks, first)
		size, in := c.Len, c.In
		last := first + 1
		for ; last < n && last-first < maxChunks; last++ {
			// A member that is shared is decoded once rather than twice.
			c = getChunk(w.chunks, last)
			if size+c.Len > chunkRun && (c.In != in || size+c.Len > MaxChunk) {
				break
			}
			size, in = size+c.Len, c.In
		}
		spans = append(spans, pointRecord{in: getChunk(w.chunks, first).In, out: out, winOff: int64(first), winLen: uint32(last - first)})
		out += size
		first = last
	}
	// The last member of a span ends where the next one begins.
	in := end
	for i, s := n, len(spans); s > 0; i-- {
		c := getChunk(w.chunks, i-1)
		if i < n && getChunk(w.chunks, i).In > c.In {
			in = getChunk(w.chunks, i).In
		}
		if i == int(spans[s-1].winOff)+int(spans[s-1].winLen) {
			s--
			spans[s].head = in
		}
	}
	for _, s := range spans {
		w.row = s.put(w.row[:0])
		w.points.add(w.row)
	}
	w.sums.add(w.chunks)
}

func getChunk(rows []byte, i int) Chunk {
	le, b := binary.LittleEndian, rows[i*chunkLen:]
	return Chunk{
		In: int64(le.Uint64(b)), Skip: int64(le.Uint32(b[8:])), Len: int64(le.Uint32(b[12:])),
		File: int(le.Uint32(b[16:])), Sum: [32]byte(b[20:52]),
	}
}

// loadChunks is loadSpans for a layer with chunks.
func (ix *Index) loadChunks() error {
	points, rows, files := ix.sections[secPoints], ix.sections[secChunks], ix.sections[secHeaders]
	if len(points)%pointLen != 0 || len(rows)%chunkLen != 0 || len(files)%fileLen != 0 {
		return ix.bad("spans, chunks, headers: %d, %d, %d bytes", len(points), len(rows), len(files))
	}
	ix.spans = len(points) / pointLen
	ix.firstSum = make([]int64, ix.spans)
	n, out := 0, int64(chunkStart)
	var prev Chunk
	for i := range ix.spans {
		p := ix.point(i)
		if p.out != out || int(p.winOff) != n || p.winLen < 1 || p.winLen > maxChunks || int(p.winLen) > len(rows)/chunkLen-n || p.head > ix.info.BlobSize {
			return ix.bad("span %d out of order or range: %+v", i, p)
		}
		ix.firstSum[i] = int64(n)
		for range p.winLen {
			c := getChunk(rows, n)
			if c.In < p.in || c.In >= p.head || c.In < prev.In || c.Skip > MaxSkip || c.Len < 1 || c.Len > MaxChunk ||
				c.In == prev.In && c.Skip < prev.Skip+prev.Len || c.File != NoFile && c.File >= len(files)/fileLen {
				return ix.bad("chunk %d out of order or range: %+v", n, c)
			}
			prev = c
			out += c.Len
			n++
		}
	}
	if n != len(rows)/chunkLen || out != ix.info.End() {
		return ix.bad("%d chunks, its spans have %d; %d bytes of %d", len(rows)/chunkLen, n, out-chunkStart, ix.info.LayerSize)
	}
	for i := range len(files) / fileLen {
		if h := ix.Header(i); h.In < 0 || h.Skip < 0 || h.End < h.In || h.End > ix.info.BlobSize || h.EndAt < 0 || h.In == h.End && h.EndAt < h.Skip {
			return ix.bad("header %d out of range: %+v", i, h)
		}
	}
	return nil
}

// Chunks gives the chunks of a span, in order.
func (ix *Index) Chunks(s Span) []Chunk {
	all := make([]Chunk, s.point.winLen)
	for i := range all {
		all[i] = getChunk(ix.sections[secChunks], int(s.firstSum)+i)
	}
	return all
}

// ChunkAfter gives the chunk that follows those of a span, if there is one.
func (ix *Index) ChunkAfter(s Span) (c Chunk, ok bool) {
	i := int(s.firstSum) + int(s.point.winLen)
	if i == len(ix.sections[secChunks])/chunkLen {
		return c, false
	}
	return getChunk(ix.sections[secChunks], i), true
}

// Headers is how many headers there are for [Index.Header].
func (ix *Index) Headers() int {
	if !ix.info.Codec.Chunked() {
		return 0
	}
	return len(ix.sections[secHeaders]) / fileLen
}

// Header gives the header of a file by its number.
func (ix *Index) Header(file int) Header {
	le, b := binary.LittleEndian, ix.sections[secHeaders][file*fileLen:]
	return Header{
		In: int64(le.Uint64(b)), Skip: int64(le.Uint64(b[8:])),
		End: int64(le.Uint64(b[16:])), EndAt: int64(le.Uint64(b[24:])), Sum: [32]byte(b[32:64]),
	}
}
