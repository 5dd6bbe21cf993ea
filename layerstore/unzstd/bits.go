package unzstd

import (
	"encoding/binary"
	"math/bits"
)

// backBits reads a bit stream from its end to its start (RFC 8878 §4.1). More bits
// than there are may be taken: they are zero, and left becomes negative.
type backBits struct {
	in   []byte
	left int // bits [0, left) of in are not taken yet, counted from the low bit of in[0]
}

// newBackBits finds the stream's first bit: below the highest one that is set.
func newBackBits(in []byte) (backBits, error) {
	if len(in) == 0 || in[len(in)-1] == 0 {
		return backBits{}, fault("bit stream has no end mark")
	}
	return backBits{in, 8*len(in) - 9 + bits.Len8(in[len(in)-1])}, nil
}

// take reads n ≤ 32 bits as a number.
func (b *backBits) take(n uint) uint32 {
	v := b.peek(n)
	b.left -= int(n)
	return v
}

// peek is take without using up.
func (b *backBits) peek(n uint) uint32 {
	from := b.left - int(n)
	if from < 0 {
		if b.left <= 0 {
			return 0
		}
		return uint32(b.word(0) & (1<<uint(b.left) - 1) << uint(-from))
	}
	return uint32(b.word(from>>3) >> uint(from&7) & (1<<n - 1))
}

// word is the eight bytes from at on, zero past the end of in.
func (b *backBits) word(at int) uint64 {
	if at+8 <= len(b.in) {
		return binary.LittleEndian.Uint64(b.in[at:])
	}
	var w [8]byte
	copy(w[:], b.in[at:])
	return binary.LittleEndian.Uint64(w[:])
}

// frontBits reads a bit stream from its start, low bit of each byte first. More
// bits than there are may be taken: they are zero.
type frontBits struct {
	in  []byte
	pos int // in bits
}

// peek gives the next n ≤ 16 bits as a number.
func (b *frontBits) peek(n int) int {
	var w [4]byte
	if at := b.pos >> 3; at < len(b.in) {
		copy(w[:], b.in[at:])
	}
	return int(binary.LittleEndian.Uint32(w[:])>>(b.pos&7)) & (1<<n - 1)
}

func (b *frontBits) take(n int) int {
	v := b.peek(n)
	b.pos += n
	return v
}
