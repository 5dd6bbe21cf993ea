package unzstd

import (
	"fmt"
	"io"
	"runtime"
)

// defaultWindow is what Options.MaxWindow is if not said, in bytes. It suits all
// that compressors do unless they are told to (zstd -19 and below, and the default
// of klauspost/compress, have 8 MiB).
const defaultWindow = 16 << 20

// Options are what a Reader does besides decoding.
type Options struct {
	// Spacing is the wanted distance of Points in bytes of output; 0 means none. A
	// Point is put at the first start of a block or frame that is Spacing past the
	// one before; a block gives at most 128 KiB. Where States would come to more
	// than a part of the stream it is up to four times Spacing, as far as the window
	// is shorter.
	Spacing int64
	// OnStart, if not nil, is called as soon as there is output after a Point,
	// before Read gives any of it, with its Out.
	OnStart func(out int64)
	// OnPoint is called for each Point, by Read, in rising order of Out, as soon as
	// its State is known: at once for AtFrame, else at the next Point or at the
	// frame's end. Each Point has output after it; the first has Out 0 and Kind
	// AtFrame. Point and State are OnPoint's to keep.
	OnPoint func(Point)
	// MaxWindow bounds the window of a frame in bytes; a larger one is a
	// *WindowError. 0 means 16 MiB; more than 128 MiB is taken as that. A Reader's
	// memory is about a window, which lies in a temporary file where it is large,
	// and what a Point refers to, at most Spacing bytes, three times.
	MaxWindow int64
}

// A Reader decodes a zstd stream. It must not be used by two goroutines at once.
type Reader struct {
	in        input
	section   section // what in reads from, after Resume
	points    marker
	maxWindow int64
	plain     bool  // for tests: without the fast loops
	err       error // said by all further calls of Read

	state      state
	frames     int   // read to their end
	frameStart int64 // in the compressed stream: where the last one ended
	frame      frame

	history history
	ready   []byte // the part of history that was not read yet

	// What later blocks of the frame may take over.
	reps      [3]uint32
	described [numTables][]byte // how the stream has described tables; empty: not yet
	tables    [3]fseTable       // as in sequenceKinds
	huff      huffTable

	// Of the current block.
	lits   []byte // has slack after its end
	litPos int    // how far they are copied
	litBuf []byte
	batch  [batchSize]sequence
	counts counts

	stateReader *stateReader
}

// state is what the decoder expects next.
type state uint8

const (
	atFrame    state = iota // a frame's header or the end
	atBlock                 // a block's header
	atFrameEnd              // a checksum, perhaps
)

// NewReader decodes a zstd stream of one or more frames. Checksums and content
// sizes are checked. The stream ends, with io.EOF, where src ends after a frame.
// Input that ends before, or is empty, is io.ErrUnexpectedEOF; invalid input,
// anything after the last frame, and frames that need a dictionary are a
// *FormatError, frames that need too much memory a *WindowError, what src.Read says
// is passed on; all of them come after the output of the blocks before.
func NewReader(src io.Reader, o Options) *Reader {
	r := new(Reader)
	r.Reset(src, o)
	return r
}

// OffHeap has the buffer of r's window lie outside of the Go heap. It is called
// before r is first used.
func (r *Reader) OffHeap() { r.history.offHeap = true }

// Release gives up the buffer of the window. r can be used again from Reset or
// Resume on.
func (r *Reader) Release() {
	r.history.release()
	r.ready = nil
}

// WindowSize is how many bytes the buffer of the window has.
func (r *Reader) WindowSize() int { return len(r.history.ring) }

// Reset makes r what NewReader gives, and keeps its buffers. The zero Reader will
// do.
func (r *Reader) Reset(src io.Reader, o Options) {
	r.reset()
	r.in.reset(src, 0)
	r.points.spacing, r.points.onStart, r.points.onPoint = o.Spacing, o.OnStart, o.OnPoint
	r.points.last, r.points.room = -o.Spacing, freeState
	r.maxWindow = min(o.MaxWindow, maxWindow)
	if o.MaxWindow == 0 {
		r.maxWindow = defaultWindow
	}
	r.history.reset(0, 0)
}

// Resume decodes from p on, reading no byte of src at or past end (the In of a
// later point). All output up to the next Point's Out can be had, or to the end if
// p is the last one. What comes after that may be refused, as a *FormatError, for p
// has not got what it needs; it is not wrong. Where src or the range up to end is
// used up, the error is io.EOF after the end of a frame, else io.ErrUnexpectedEOF.
// Checksums are verified of those frames only that begin at or after p. The error
// of Resume itself means that p cannot be a Point; src is not read yet.
func Resume(src io.ReaderAt, p Point, end int64) (*Reader, error) {
	r := new(Reader)
	if err := r.Resume(src, p, end); err != nil {
		return nil, err
	}
	return r, nil
}

// maxOffset is more than any stream has, and not so much that sums overflow.
const maxOffset = 1 << 60

// Resume makes r what the function Resume gives, and keeps its buffers. The zero
// Reader will do. p.State is not used after it returned.
func (r *Reader) Resume(src io.ReaderAt, p Point, end int64) error {
	r.reset()
	r.maxWindow = maxWindow
	r.section = section{src: src, off: p.In, end: end}
	r.in.reset(&r.section, p.In)
	r.frameStart = p.In
	ok := min(p.In, p.Out) >= 0 && max(p.In, p.Out) < maxOffset && (p.Kind == AtBlock || p.Kind == AtFrame && len(p.State) == 0)
	if !ok {
		r.err = fmt.Errorf("zstd: no such point: kind %d, in %d, out %d, state of %d bytes", p.Kind, p.In, p.Out, len(p.State))
		return r.err
	}
	if p.Kind == AtFrame {
		r.history.reset(0, p.Out)
		return nil
	}
	r.err = r.restore(p)
	return r.err
}

// reset clears all but the buffers.
func (r *Reader) reset() {
	r.err = nil
	r.state, r.frames, r.frameStart = atFrame, 0, 0
	r.ready = nil
	for k := range r.described {
		r.described[k] = r.described[k][:0]
	}
	clear(r.points.used)
	r.points = marker{used: r.points.used, packer: r.points.packer}
	if r.litBuf == nil {
		r.litBuf = make([]byte, maxBlock+slack)
	}
}

// Read gives output. Unless there is an error, p is filled.
func (r *Reader) Read(p []byte) (int, error) {
	defer runtime.KeepAlive(r) // the ring may be outside of the heap
	n := 0
	for n < len(p) {
		if len(r.ready) > 0 {
			c := copy(p[n:], r.ready)
			r.ready = r.ready[c:]
			n += c
			continue
		}
		if r.err == nil {
			r.err = r.step()
			continue
		}
		if n == 0 {
			return 0, r.err
		}
		break
	}
	return n, nil
}

func (r *Reader) step() error {
	switch r.state {
	case atFrame:
		return r.header()
	case atBlock:
		return r.block()
	default:
		return r.endFrame()
	}
}

// corrupt is the error for what is wrong with the input at the current place.
func (r *Reader) corrupt(msg string) error {
	return &FormatError{Offset: r.in.offset(), Msg: msg}
}
