package inflate

import "io"

// smallRead is the size of a buffer below which Read does not decode straight
// into it: each call of decode copies 32 KiB of history besides.
const smallRead = 64 << 10

// Options are what a Reader does besides decoding.
type Options struct {
	// Spacing is the wanted distance of Points in bytes of output; 0 means none.
	// A Point is put at the first start of a block or member that is Spacing past
	// the one before, or, when there is none within twice the Spacing, inside the
	// block. Two are at least 32 KiB apart, and stored blocks, of at most 64 KiB,
	// have none inside.
	Spacing int64
	// OnPoint is called for each Point, by Read, in rising order of Out, as soon
	// as its window is known, which is some 32 KiB of output later. The first is
	// {In: 0, Out: 0, Kind: AtMember}; all others have output before and after
	// them. Point and Window are OnPoint's to keep. Nil only if Spacing is 0.
	OnPoint func(Point)
}

// A Reader decodes a gzip stream. It must not be used by two goroutines at once.
type Reader struct {
	bits    bitReader
	section section // what bits reads from, after Resume
	points  marker
	err     error // said by all further calls of Read

	state   state
	members int   // read to their end
	resume  Point // where to go on, if state is atResume

	// Of the current member.
	checked bool   // decoded from its start
	crc     uint32 // of the output before r.out[summed]
	size    uint32
	summed  int

	// Of the current block.
	head      int64
	headBit   uint8
	final     bool
	stored    int // bytes left of a stored block
	codes     *tables
	match     int // bytes left to copy of a match
	matchDist int

	// Output: out is the buffer of the current call, of which out[:pos] is made;
	// before is the offset of out[0] in the uncompressed stream. No match may refer
	// to what is before floor, an index into out. It is negative where that lies
	// in hist, which is the output before out, right-aligned.
	out    []byte
	pos    int
	before int64
	floor  int
	hist   [windowSize + histPad]byte

	small []byte // for small reads: decoded
	ready []byte // the part of it that was not read yet

	lens [1 << lenWidth]entry // the table of code lengths
	own  tables               // of a block that brings its own codes
}

// state is what the decoder expects next.
type state uint8

const (
	atMember  state = iota // a member's header or the end
	atBlock                // a block's header
	inStored               // the bytes of a stored block
	inHuffman              // a symbol, or the rest of a match
	atTrailer              // the end of a member
	atResume               // Reader.resume
)

// NewReader decodes a gzip stream of one or more members. CRC and size of each
// are checked. The stream ends, with io.EOF, where src ends after a member, or
// where something follows that does not begin as a member does, such as padding;
// see Trailing. Input that ends earlier is io.ErrUnexpectedEOF, invalid input a
// *FormatError, and other errors are src's own; each comes after all output
// that is before it.
func NewReader(src io.Reader, o Options) *Reader {
	r := new(Reader)
	r.Reset(src, o)
	return r
}

// Reset makes r what NewReader gives, and keeps its buffers. The zero Reader
// will do.
func (r *Reader) Reset(src io.Reader, o Options) {
	r.reset()
	r.bits.reset(src, 0)
	r.points = marker{spacing: o.Spacing, emit: o.OnPoint, window: r.points.window}
}

// Resume decodes from p on, reading no byte of src at or past end, such as
// Point.End of a later Point. Where src or the part up to end is used up, the
// error is io.EOF after a member's end, else io.ErrUnexpectedEOF. The CRC is
// checked of those members only that begin at p or later. An error of Resume
// itself means that p cannot be a Point; src is not read yet.
func Resume(src io.ReaderAt, p Point, end int64) (*Reader, error) {
	r := new(Reader)
	if err := r.Resume(src, p, end); err != nil {
		return nil, err
	}
	return r, nil
}

// Resume makes r what the function Resume gives, and keeps its buffers. The
// zero Reader will do. p.Window is not used after it returned.
func (r *Reader) Resume(src io.ReaderAt, p Point, end int64) error {
	if err := p.check(); err != nil {
		return err
	}
	r.reset()
	r.points = marker{window: r.points.window}
	r.before = p.Out
	r.section = section{src: src, off: p.In, end: end}
	r.state = atResume
	r.floor = -windowSize
	clear(r.hist[:windowSize-len(p.Window)])
	copy(r.hist[windowSize-len(p.Window):], p.Window)
	r.resume = p
	r.resume.Window = nil
	return nil
}

// reset clears all but the buffers.
func (r *Reader) reset() {
	r.err = nil
	r.state, r.members = atMember, 0
	r.checked, r.crc, r.size, r.summed = false, 0, 0, 0
	r.final, r.stored, r.match = false, 0, 0
	r.out, r.pos, r.before, r.floor = nil, 0, 0, 0
	r.ready = nil
}

// Read decodes into p, of which all bytes may be overwritten. Buffers of
// 256 KiB and more are best; below 64 KiB the output is copied once more.
// Unless there is an error, p is filled.
func (r *Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.ready) > 0 {
			c := copy(p[n:], r.ready)
			r.ready = r.ready[c:]
			n += c
			continue
		}
		if r.err != nil {
			if n == 0 {
				return 0, r.err
			}
			break
		}
		if len(p)-n >= smallRead {
			n += r.decode(p[n:])
			continue
		}
		if r.small == nil {
			r.small = make([]byte, smallRead)
		}
		r.ready = r.small[:r.decode(r.small)]
	}
	return n, nil
}

// InputOffset is how far the compressed stream is decoded, in bytes; at the
// end that is the end of the last member. Small reads decode ahead.
func (r *Reader) InputOffset() int64 {
	in, bit := r.bits.offset()
	if bit > 0 {
		in++
	}
	return in
}

// OutputOffset is the offset into the uncompressed stream of what Read gives next.
func (r *Reader) OutputOffset() int64 { return r.before - int64(len(r.ready)) }

// Trailing is how many bytes were read from src that lie past InputOffset: after
// io.EOF, the beginning of whatever follows the gzip stream. The rest of it src
// still has.
func (r *Reader) Trailing() int { return int(r.bits.base + int64(len(r.bits.buf)) - r.InputOffset()) }

// decode makes output until p is full or there is an error, which is left in
// r.err. It gives how much.
func (r *Reader) decode(p []byte) int {
	r.out = p
	for r.err == nil && r.pos < len(p) {
		r.err = r.step()
	}
	r.sum()
	n := r.pos
	r.keep(p[:n])
	r.out, r.pos, r.summed = nil, 0, 0
	r.before += int64(n)
	r.floor = max(r.floor-n, -windowSize)
	return n
}

// keep moves output into hist.
func (r *Reader) keep(p []byte) {
	if len(p) < windowSize {
		copy(r.hist[:], r.hist[len(p):windowSize])
	}
	p = p[max(0, len(p)-windowSize):]
	copy(r.hist[windowSize-len(p):windowSize], p)
}

func (r *Reader) step() error {
	switch r.state {
	case atMember:
		return r.member()
	case atBlock:
		return r.blockHeader()
	case inStored:
		return r.copyStored()
	case inHuffman:
		return r.symbols()
	case atTrailer:
		return r.trailer()
	default:
		return r.goOn()
	}
}

// symbols decodes part of a huffman block: up to its end, the end of the
// output, or the next thing that a Point wants.
func (r *Reader) symbols() error {
	if r.match > 0 {
		r.copyMatch()
		return nil
	}
	out := r.outputOffset()
	m := &r.points
	m.settle(out)
	if m.spacing > 0 && !m.isOpen && out-m.last >= 2*m.spacing {
		in, bit := r.bits.offset()
		m.begin(Point{In: in, Bit: bit, Out: out, Kind: InBlock, Head: r.head, HeadBit: r.headBit})
	}
	left := int64(len(r.out) - r.pos)
	switch {
	case m.isOpen:
		left = min(left, windowSize-(out-m.open.Out))
	case m.spacing > 0:
		left = min(left, 2*m.spacing-(out-m.last))
	}
	if b := &r.bits; len(b.buf)-b.pos <= inSlack {
		_ = b.fill() // plainSymbol finds out whether there is too little
	}
	bound := r.pos + int(left)
	length, dist, err := r.fastLoop(bound)
	switch {
	case err != nil:
		return err
	case dist > 0:
		return r.beginMatch(length, dist)
	case r.pos < bound:
		return r.plainSymbol()
	}
	return nil
}

// outputOffset is the offset into the uncompressed stream of out[pos].
func (r *Reader) outputOffset() int64 { return r.before + int64(r.pos) }

// corrupt is the error for what is wrong with the input at the current place.
func (r *Reader) corrupt(msg string) error {
	in, _ := r.bits.offset()
	return &FormatError{Offset: in, Msg: msg}
}
