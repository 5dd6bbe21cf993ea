package unzstd

import (
	"errors"
	"io"
)

// inputSize is how much is asked of the source at once, in bytes. It exceeds the
// largest piece that is looked at as one, a block with its header.
const inputSize = 256 << 10

// slack is how many bytes the fast loops may read and write past the end of a
// piece.
const slack = 64

// input is the compressed stream, of which pieces are looked at in place.
type input struct {
	src  io.Reader
	end  error  // what src said instead of more bytes; nil until then
	base int64  // offset of buf[0] in the compressed stream
	buf  []byte // as read from src; its capacity has slack bytes more than are used
	pos  int    // buf[pos:] is not used up yet
}

// reset starts at offset base of the compressed stream, which is where src stands.
func (b *input) reset(src io.Reader, base int64) {
	if cap(b.buf) == 0 {
		b.buf = make([]byte, inputSize+slack)
	}
	*b = input{src: src, base: base, buf: b.buf[:0]}
}

// offset is the place of the next byte in the compressed stream.
func (b *input) offset() int64 { return b.base + int64(b.pos) }

// peek gives the next n bytes, at most inputSize, without using them up. They are
// valid until the next call of any method. An early end of the source is
// io.ErrUnexpectedEOF, io.EOF if there is not one byte.
func (b *input) peek(n int) ([]byte, error) {
	for len(b.buf)-b.pos < n {
		if err := b.fill(n); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.EOF
				if len(b.buf) > b.pos {
					err = io.ErrUnexpectedEOF
				}
			}
			return nil, err
		}
	}
	return b.buf[b.pos : b.pos+n], nil
}

// need is peek for what must be there.
func (b *input) need(n int) ([]byte, error) {
	p, err := b.peek(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return p, err
}

// skip uses up n bytes, and says how many there were.
func (b *input) skip(n int64) (int64, error) {
	for left := n; ; {
		k := min(left, int64(len(b.buf)-b.pos))
		b.pos += int(k)
		left -= k
		if left == 0 {
			return n, nil
		}
		if err := b.fill(1); err != nil {
			return n - left, err
		}
	}
}

// fill reads at least one byte more into buf, so that n bytes from pos on have
// room.
func (b *input) fill(n int) error {
	if b.end != nil {
		return b.end
	}
	if b.pos+n > inputSize || b.pos == len(b.buf) {
		left := copy(b.buf[:inputSize], b.buf[b.pos:])
		b.base += int64(b.pos)
		b.buf, b.pos = b.buf[:left], 0
	}
	for range 100 {
		at := len(b.buf)
		n, err := b.src.Read(b.buf[at:inputSize])
		b.buf = b.buf[:at+n]
		b.end = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	b.end = io.ErrNoProgress
	return b.end
}

// section reads the part [off, end) of src.
type section struct {
	src      io.ReaderAt
	off, end int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.off >= s.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.end-s.off)]
	n, err := s.src.ReadAt(p, s.off)
	s.off += int64(n)
	return n, err
}
