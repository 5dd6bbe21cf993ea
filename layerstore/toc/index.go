package toc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
	"sort"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"mica/layerstore/inflate"
	"mica/layerstore/unzstd"
)

// An Index is an open index file, mapped into memory. Its methods may be
// called concurrently. Close it when nothing reads from it any more.
type Index struct {
	path     string
	data     []byte // the mapping
	sections [numSections][]byte
	info     Info
	spans    int     // for a codec with points: how many
	firstSum []int64 // by span, for a codec with points
}

// OpenIndex maps the index file at path and checks it. A damaged file, or one
// of another version, is an *IndexError; a missing one matches
// [io/fs.ErrNotExist].
func OpenIndex(path string) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < headerLen {
		return nil, &IndexError{path, fmt.Sprintf("%d bytes, the header alone has %d", st.Size(), headerLen)}
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	ix := &Index{path: path, data: data}
	if err := ix.load(); err != nil {
		ix.Close()
		return nil, err
	}
	return ix, nil
}

func (ix *Index) bad(format string, a ...any) error {
	return &IndexError{ix.path, fmt.Sprintf(format, a...)}
}

// load checks all sections and what they say about each other.
func (ix *Index) load() error {
	le := binary.LittleEndian
	h := ix.data[:headerLen]
	if string(h[:8]) != indexMagic || le.Uint32(h[8:]) != indexVersion || le.Uint32(h[12:]) != numSections {
		return ix.bad("no index of version %d", indexVersion)
	}
	if le.Uint32(h[headerLen-4:]) != Checksum(h[:headerLen-4]) {
		return ix.bad("header: checksum does not match")
	}
	total := uint64(headerLen)
	for i := range ix.sections {
		s := h[16+i*sectionLen:]
		off, n := le.Uint64(s), le.Uint64(s[8:])
		if off > uint64(len(ix.data)) || n > uint64(len(ix.data))-off {
			return ix.bad("section %d: [%d, +%d) outside of %d bytes", i, off, n, len(ix.data))
		}
		ix.sections[i] = ix.data[off : off+n : off+n]
		if Checksum(ix.sections[i]) != le.Uint32(s[16:]) {
			return ix.bad("section %d: checksum does not match", i)
		}
		total += n
	}
	if total != uint64(len(ix.data)) {
		return ix.bad("%d bytes, its sections have %d", len(ix.data), total)
	}
	var ok bool
	if ix.info, ok = getInfo(ix.sections[secInfo]); !ok {
		return ix.bad("malformed info")
	}
	return ix.loadSpans()
}

func (ix *Index) loadSpans() error {
	if ix.info.Codec.Chunked() {
		return ix.loadChunks()
	}
	points := ix.sections[secPoints]
	var sums int64
	if ix.info.Codec == Plain {
		if len(points) != 0 || ix.info.LayerSize != ix.info.BlobSize {
			return ix.bad("a plain layer with points or two sizes")
		}
		ix.spans = int((ix.info.LayerSize + PlainSpan - 1) / PlainSpan)
		sums = blocks(ix.info.LayerSize)
	} else {
		if len(points)%pointLen != 0 {
			return ix.bad("points: %d bytes", len(points))
		}
		ix.spans = len(points) / pointLen
		if ix.spans == 0 && ix.info.LayerSize > 0 {
			return ix.bad("no points")
		}
		ix.firstSum = make([]int64, ix.spans)
		var prev pointRecord
		for i := range ix.spans {
			p := ix.point(i)
			if !p.follows(prev, i == 0, &ix.info) || !p.sound(&ix.info, len(ix.sections[secWindows])) {
				return ix.bad("point %d out of order or range: %+v", i, p)
			}
			prev = p
			ix.firstSum[i] = sums
			sums += blocks(ix.outEnd(i) - p.out)
		}
	}
	if int64(len(ix.sections[secSums])) != 4*sums {
		return ix.bad("%d bytes of sums for %d blocks", len(ix.sections[secSums]), sums)
	}
	return nil
}

// blocks is how many blocks n bytes have.
func blocks(n int64) int64 { return (n + BlockLen - 1) / BlockLen }

func (ix *Index) point(i int) pointRecord { return getPoint(ix.sections[secPoints][i*pointLen:]) }

func (ix *Index) outEnd(i int) int64 {
	if i+1 < ix.spans {
		return ix.point(i + 1).out
	}
	return ix.info.End()
}

// Info tells of the layer as a whole.
func (ix *Index) Info() Info { return ix.info }

// Size is the length of the index file in bytes.
func (ix *Index) Size() int64 { return int64(len(ix.data)) }

// Spans is how many spans the layer has.
func (ix *Index) Spans() int { return ix.spans }

// Span gives span i, 0 ≤ i < Spans.
func (ix *Index) Span(i int) Span {
	if ix.info.Codec == Plain {
		out := int64(i) * PlainSpan
		end := min(out+PlainSpan, ix.info.LayerSize)
		return Span{In: out, InEnd: end, Out: out, OutEnd: end, firstSum: out / BlockLen}
	}
	p := ix.point(i)
	s := Span{In: p.in, Out: p.out, OutEnd: ix.outEnd(i), point: p, firstSum: ix.firstSum[i]}
	switch {
	case ix.info.Codec.Chunked():
		s.InEnd = p.head
	case i+1 < ix.spans:
		next := ix.point(i + 1)
		s.InEnd = next.in
		if next.bit > 0 {
			s.InEnd++ // the first bits of that byte are this span's
		}
	default:
		s.InEnd = ix.info.BlobSize
	}
	return s
}

// SpanAt gives the number of the span that holds byte off of the layer,
// Start ≤ off < End.
func (ix *Index) SpanAt(off int64) int {
	if ix.info.Codec == Plain {
		return int(off / PlainSpan)
	}
	return sort.Search(ix.spans, func(i int) bool { return ix.point(i).out > off }) - 1
}

// Sum is the checksum of block b of span s: of the bytes from b·BlockLen on,
// at most BlockLen of them.
func (ix *Index) Sum(s Span, b int) uint32 {
	return binary.LittleEndian.Uint32(ix.sections[secSums][4*(s.firstSum+int64(b)):])
}

// Point gives the place from which package inflate decodes a span of a gzip
// layer. The window is the caller's.
func (ix *Index) Point(s Span) (inflate.Point, error) {
	p := s.point
	ip := inflate.Point{In: p.in, Bit: p.bit, Out: p.out, Kind: inflate.PointKind(p.kind), Head: p.head, HeadBit: p.headBit}
	if p.winLen > 0 {
		z := ix.sections[secWindows][p.winOff:][:p.winLen]
		w, err := windowDecoder.DecodeAll(z, make([]byte, 0, p.winRaw))
		if err != nil || len(w) != int(p.winRaw) {
			return ip, ix.bad("window at %d: %d bytes of %d, %v", p.out, len(w), p.winRaw, err)
		}
		ip.Window = w
	}
	return ip, nil
}

// ZstdPoint gives the place from which package unzstd decodes a span of a zstd
// layer. Its State is part of the mapping.
func (ix *Index) ZstdPoint(s Span) unzstd.Point {
	p := s.point
	return unzstd.Point{In: p.in, Out: p.out, Kind: unzstd.PointKind(p.kind), State: ix.sections[secWindows][p.winOff:][:p.winLen]}
}

// windowDecoder has no state of its own: DecodeAll may be called concurrently.
var windowDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxWindow))

// Markers gives the whiteouts and opaque marks of the layer in tar order.
func (ix *Index) Markers() iter.Seq2[*Entry, error] { return ix.decode(secMarkers) }

// Entries gives all other entries in tar order. An error ends the sequence.
func (ix *Index) Entries() iter.Seq2[*Entry, error] { return ix.decode(secEntries) }

func (ix *Index) decode(section int) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		z, err := zstd.NewReader(bytes.NewReader(ix.sections[section]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			yield(nil, err)
			return
		}
		defer z.Close()
		dec := entryDecoder{r: bufio.NewReaderSize(z, 64<<10)}
		for {
			e, err := dec.next()
			if err == io.EOF {
				return
			}
			if err == nil && e.Type == Regular && (e.Off < ix.info.Start() || e.DataLen() > ix.info.End()-e.Off) {
				err = errBadEntry
			}
			if err != nil {
				yield(nil, ix.bad("section %d: %v", section, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Close gives the mapping back.
func (ix *Index) Close() error {
	if ix.data == nil {
		return nil
	}
	err := unix.Munmap(ix.data)
	ix.data, ix.sections = nil, [numSections][]byte{}
	return err
}
