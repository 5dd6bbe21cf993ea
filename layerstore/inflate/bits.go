package inflate

import (
	"errors"
	"io"
)

// inputSize is how much is asked of the source at once, in bytes.
const inputSize = 128 << 10

// bitReader hands out the source's bits, low bit of each byte first (RFC 1951 §3.1.1).
type bitReader struct {
	src  io.Reader
	end  error  // what src said instead of more bytes; nil until then
	base int64  // offset of buf[0] in the compressed stream
	buf  []byte // as read from src
	pos  int    // buf[pos:] is not in the bit buffer yet
	bits uint64 // the bit buffer, next bit lowest; zero above n
	n    uint   // how many bits it holds
}

// reset starts at offset base of the compressed stream, which is where src stands.
func (b *bitReader) reset(src io.Reader, base int64) {
	if cap(b.buf) == 0 {
		b.buf = make([]byte, 0, inputSize)
	}
	*b = bitReader{src: src, base: base, buf: b.buf[:0]}
}

// offset is the place of the next bit: its byte's offset in the compressed
// stream and how many lower bits of that byte are used up.
func (b *bitReader) offset() (in int64, bit uint8) {
	at := 8*(b.base+int64(b.pos)) - int64(b.n)
	return at >> 3, uint8(at & 7)
}

// putBack empties the bit buffer of whole bytes.
func (b *bitReader) putBack() {
	b.pos -= int(b.n >> 3)
	b.n &= 7
	b.bits &= 1<<b.n - 1
}

// align skips to the next byte boundary and empties the bit buffer.
func (b *bitReader) align() {
	b.putBack()
	b.bits, b.n = 0, 0
}

// fill reads at least one byte more into buf. An early end of the source is
// io.ErrUnexpectedEOF.
func (b *bitReader) fill() error {
	b.putBack()
	if b.end != nil {
		return b.end
	}
	left := copy(b.buf[:cap(b.buf)], b.buf[b.pos:])
	b.base += int64(b.pos)
	b.buf, b.pos = b.buf[:left], 0
	for range 100 {
		n, err := b.src.Read(b.buf[left:cap(b.buf)])
		b.buf = b.buf[:left+n]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
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

// need sees to it that the bit buffer holds at least n ≤ 56 bits.
func (b *bitReader) need(n uint) error {
	for b.n < n {
		if b.pos == len(b.buf) {
			if err := b.fill(); err != nil {
				return err
			}
			continue // with what fill put back
		}
		b.bits |= uint64(b.buf[b.pos]) << b.n
		b.pos++
		b.n += 8
	}
	return nil
}

// drop uses up n bits that the bit buffer holds.
func (b *bitReader) drop(n uint) {
	b.bits >>= n
	b.n -= n
}

// take reads n ≤ 56 bits as a number.
func (b *bitReader) take(n uint) (uint, error) {
	if err := b.need(n); err != nil {
		return 0, err
	}
	v := uint(b.bits & (1<<n - 1))
	b.drop(n)
	return v, nil
}

// bytes gives the next n bytes, at most inputSize, without using them up. They
// are valid until the next call of any method. The reader stands at a byte
// boundary with an empty bit buffer. If the source has fewer, it gives those,
// with the reason.
func (b *bitReader) bytes(n int) ([]byte, error) {
	for len(b.buf)-b.pos < n {
		if err := b.fill(); err != nil {
			return b.buf[b.pos:], err
		}
	}
	return b.buf[b.pos : b.pos+n], nil
}
