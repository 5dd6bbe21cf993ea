package unzstd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

// blockState is what a Point's State holds, itself compressed as a zstd stream:
//
//	uvarint  window: how far back matches may reach, in bytes
//	uvarint  content still to come, plus 1; 0 if the frame does not say
//	uvarint  1 if the frame ends in a checksum, else 0
//	uvarint  ×3: the last distances
//	tables   ×4: of literal lengths, distances, match lengths, and literals. Each a uvarint
//	         length and that many bytes, none if it is not needed; as the stream has described
//	         it, for the first three with the mode before it
//	uvarint  number of runs
//	runs     each two uvarints: bytes of the window left out, and bytes kept
//	bytes    that are kept, to the end
type blockState struct {
	window int
	left   int64
	summed bool
	reps   [3]uint32
	tables [numTables][]byte // nil: not needed
}

// packer makes a State: it gathers the bytes of the window that are kept.
type packer struct {
	enc   *zstd.Encoder
	done  int // what lies before, in the window, has been looked at
	start int // of the current run
	end   int // of the current run; bytes has it already
	tail  int // of the last run that runs has
	count int
	runs  []byte
	bytes []byte
	raw   []byte
}

// joinGap is the longest gap that is kept rather than making two runs. It costs
// less than the numbers of one more run.
const joinGap = 3

// begin forgets all runs; the window begins at its byte from.
func (p *packer) begin(from int) {
	p.done, p.start, p.end, p.tail, p.count = from, from, from, 0, 0
	p.runs, p.bytes = p.runs[:0], p.bytes[:0]
}

// add takes b, the next bytes of the window, keeps those that are in used, and
// takes them out of it.
func (p *packer) add(used bitmap, b []byte) {
	from := p.done
	to := from + len(b)
	for at := from; ; {
		start, end := used.run(at, to)
		if start == end {
			break
		}
		gap := start - p.end
		if gap > joinGap || gap > 0 && p.end < from {
			p.flush()
			p.start, p.end = start, start
		}
		p.bytes = append(p.bytes, b[p.end-from:end-from]...)
		p.end = end
		at = end
	}
	used.clear(from, to)
	p.done = to
}

// flush ends the current run.
func (p *packer) flush() {
	if p.end == p.start {
		return
	}
	p.runs = binary.AppendUvarint(p.runs, uint64(p.start-p.tail))
	p.runs = binary.AppendUvarint(p.runs, uint64(p.end-p.start))
	p.count++
	p.tail = p.end
}

// pack gives the State of s.
func (p *packer) pack(s *blockState) []byte {
	p.flush()
	b := binary.AppendUvarint(p.raw[:0], uint64(s.window))
	b = binary.AppendUvarint(b, uint64(s.left+1))
	summed := byte(0)
	if s.summed {
		summed = 1
	}
	b = append(b, summed)
	for _, v := range s.reps {
		b = binary.AppendUvarint(b, uint64(v))
	}
	for _, t := range s.tables {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	b = binary.AppendUvarint(b, uint64(p.count))
	b = append(b, p.runs...)
	b = append(b, p.bytes...)
	p.raw = b
	if p.enc == nil {
		var err error
		p.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(stateWindow))
		if err != nil {
			panic(err) // the options are constant
		}
	}
	return p.enc.EncodeAll(b, nil)
}

// stateWindow is the window of the stream that a State is.
const stateWindow = 1 << 20

// maxWindow is the largest window that a Reader can have, as of zstd(1), in bytes.
const maxWindow = 128 << 20

// stateReader reads a State.
type stateReader struct {
	dec Reader
	buf *bufio.Reader
	err error // the first one
}

func (s *stateReader) reset(state []byte) {
	s.dec.Reset(&sliceReader{state}, Options{MaxWindow: stateWindow})
	if s.buf == nil {
		s.buf = bufio.NewReaderSize(&s.dec, 64<<10)
	}
	s.buf.Reset(&s.dec)
	s.err = nil
}

type sliceReader struct{ b []byte }

func (s *sliceReader) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

// number reads a uvarint of at most most.
func (s *stateReader) number(most int64) int64 {
	if s.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(s.buf)
	if err == nil && v > uint64(most) {
		err = errors.New("number out of range")
	}
	if err != nil {
		s.err = unexpected(err)
		return 0
	}
	return int64(v)
}

// full fills b.
func (s *stateReader) full(b []byte) {
	if s.err == nil && len(b) > 0 {
		_, err := io.ReadFull(s.buf, b)
		s.err = unexpected(err)
	}
}

// maxDescription bounds the description of a table: a mode, or a tree's length, and
// 255 bytes.
const maxDescription = 256

// restore makes r ready for the block at p.
func (r *Reader) restore(p Point) error {
	if r.stateReader == nil {
		r.stateReader = new(stateReader)
	}
	s := r.stateReader
	s.reset(p.State)
	window := int(s.number(maxWindow))
	r.frame = frame{left: s.number(math.MaxInt64) - 1, summed: s.number(1) != 0}
	if s.err == nil && window == 0 {
		s.err = errors.New("number out of range")
	}
	for i := range r.reps {
		r.reps[i] = uint32(s.number(math.MaxUint32))
	}
	for k := range r.described {
		d := make([]byte, s.number(maxDescription))
		s.full(d)
		if s.err == nil && len(d) > 0 {
			s.err = r.redescribe(k, d)
		}
	}
	if s.err == nil {
		r.restoreWindow(window, p.Out)
	}
	if s.err == nil {
		if _, err := s.buf.ReadByte(); err == nil {
			s.err = errors.New("goes on after its end")
		} else if err != io.EOF {
			s.err = err
		}
	}
	if s.err != nil {
		return fmt.Errorf("zstd: state of the point at %d: %w", p.In, s.err)
	}
	r.state = atBlock
	return nil
}

// redescribe takes up a table.
func (r *Reader) redescribe(k int, d []byte) error {
	var n int
	var err error
	switch {
	case k == litTable:
		n, err = r.huff.read(d)
		r.described[k] = d
	case d[0] >= repeatedTable:
		err = fault("unknown kind of table")
	default:
		n, err = r.sequenceTable(k, int(d[0]), d[1:])
		n++
	}
	if err == nil && n != len(d) {
		err = fault("table's description is too long")
	}
	return err
}

// restoreWindow puts what is kept of the window into the history. In place of the
// rest there is garbage; no match gets it.
func (r *Reader) restoreWindow(window int, out int64) {
	s, h, m := r.stateReader, &r.history, &r.points
	h.reset(window, out)
	h.pos, h.base, h.start = window, out-int64(window), out-int64(window)
	m.isResumed, m.open.Out, m.origin = true, out, out-int64(window)
	if need := window/64 + 1; len(m.used) < need {
		m.used = make(bitmap, need)
	}
	end := 0
	for range s.number(int64(window)) {
		start := end + int(s.number(int64(window-end)))
		end = start + int(s.number(int64(window-start)))
		if s.err == nil && end == start {
			s.err = errors.New("empty run")
		}
		if s.err != nil {
			return
		}
		m.used.set(start, end)
	}
	for at := 0; ; {
		start, end := m.used.run(at, window)
		if start == end {
			return
		}
		s.full(h.ring[start:end])
		at = end
	}
}
