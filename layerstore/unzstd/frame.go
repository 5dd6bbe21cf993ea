package unzstd

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The numbers that a frame begins with (RFC 8878 §3.1). Of a skippable one the low
// four bits are free.
const (
	frameMagic     = 0xfd2fb528
	skippableMagic = 0x184d2a50
)

// frame is what the header of the current frame says.
type frame struct {
	left    int64 // bytes of content that are still to come, -1 if that was not said
	summed  bool  // it ends in a checksum
	checked bool  // it was decoded from its start, so that the checksum can be verified
	sum     xxh64
}

// header reads the next frame's header (RFC 8878 §3.1.1.1), or a skippable frame,
// or the end of the stream, which is io.EOF.
func (r *Reader) header() error {
	in := r.in.offset()
	b, err := r.in.peek(4)
	if err == io.EOF && r.frames > 0 {
		return io.EOF
	}
	if err == io.EOF || err != nil && err != io.ErrUnexpectedEOF {
		return unexpected(err)
	}
	// Of a stream that is cut off, as much of the number as there is.
	if err != nil {
		b = r.in.buf[r.in.pos:]
	}
	skip := completed(b, skippableMagic)&^0xf == skippableMagic
	if !skip && completed(b, frameMagic) != frameMagic {
		if r.frames > 0 {
			return r.trailing()
		}
		return r.corrupt("no zstd frame")
	}
	if err != nil {
		return err
	}
	if skip {
		return r.skippable()
	}
	if b, err = r.in.need(5); err != nil {
		return err
	}
	flags := b[4]
	if flags&8 != 0 {
		return r.corrupt("reserved bit set in a frame header")
	}
	single := flags&0x20 != 0
	dictSize := [4]int{0, 1, 2, 4}[flags&3]
	sizeSize := [4]int{0, 2, 4, 8}[flags>>6]
	windowSize := 1
	if single {
		windowSize = 0
		sizeSize = max(sizeSize, 1)
	}
	size := 5 + windowSize + dictSize + sizeSize
	if b, err = r.in.need(size); err != nil {
		return err
	}
	f := frame{left: -1, summed: flags&4 != 0, checked: true}
	b = b[5:]
	var window uint64
	if !single {
		window = 8 << 7 << (b[0] >> 3)
		window += window / 8 * uint64(b[0]&7)
		b = b[1:]
	}
	if id := number(b[:dictSize]); id != 0 {
		return r.corrupt(fmt.Sprintf("frame needs dictionary %d", id))
	}
	if sizeSize > 0 {
		n := number(b[dictSize:])
		if sizeSize == 2 {
			n += 256
		}
		f.left = int64(n)
		if f.left < 0 {
			return r.corrupt("content size of a frame is out of range")
		}
	}
	if single {
		window = max(uint64(f.left), 1<<10)
	}
	if window > uint64(r.maxWindow) {
		return &WindowError{Offset: in, Window: int64(window), Max: r.maxWindow}
	}
	r.in.pos += size
	f.sum.reset()
	r.frame = f
	r.beginFrame(int(window))
	return nil
}

// completed is the number that b begins, the rest taken from magic.
func completed(b []byte, magic uint32) uint32 {
	var w [4]byte
	binary.LittleEndian.PutUint32(w[:], magic)
	copy(w[:], b)
	return binary.LittleEndian.Uint32(w[:])
}

// number is little-endian and of any length up to 8 bytes.
func number(b []byte) uint64 {
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:])
}

// unexpected is err, where the end is an early one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skippable passes over a frame without data (RFC 8878 §3.1.2).
func (r *Reader) skippable() error {
	b, err := r.in.need(8)
	if err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	r.in.pos += 8
	if _, err := r.in.skip(n); err != nil {
		return unexpected(err)
	}
	r.frames++
	return nil
}

// trailing is the error for what follows the last frame. zstd(1) refuses that as
// well, be it NULs.
func (r *Reader) trailing() error {
	err := r.corrupt("").(*FormatError)
	n, _ := r.in.skip(1 << 62)
	err.Msg = fmt.Sprintf("%d bytes after the last frame that are no frame", n)
	return err
}

// beginFrame makes r ready for the frame's first block.
func (r *Reader) beginFrame(window int) {
	out := r.history.out()
	if r.points.due(out) {
		r.points.beginFrame(r.frameStart, out)
	}
	r.history.reset(window, out)
	r.reps = [3]uint32{1, 4, 8}
	for i := range r.described {
		r.described[i] = r.described[i][:0]
	}
	r.state = atBlock
}

// endFrame checks the content's size and, if there is one, its checksum.
func (r *Reader) endFrame() error {
	f := &r.frame
	if f.left > 0 {
		return r.corrupt(fmt.Sprintf("frame ends %d bytes before its content size", f.left))
	}
	if f.summed {
		b, err := r.in.need(4)
		if err != nil {
			return err
		}
		if f.checked && binary.LittleEndian.Uint32(b) != uint32(f.sum.sum()) {
			return r.corrupt("checksum of a frame's content is wrong")
		}
		r.in.pos += 4
	}
	r.points.endFrame(&r.history)
	r.frames++
	r.frameStart = r.in.offset()
	r.state = atFrame
	return nil
}
