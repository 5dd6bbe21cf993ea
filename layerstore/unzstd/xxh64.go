package unzstd

import (
	"encoding/binary"
	"math/bits"
)

// The primes of XXH64 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
const (
	prime1 = 0x9e3779b185ebca87
	prime2 = 0xc2b2ae3d27d4eb4f
	prime3 = 0x165667b19e3779f9
	prime4 = 0x85ebca77c2b2ae63
	prime5 = 0x27d4eb2f165667c5
)

// xxh64 is the checksum of a frame's content, with seed 0. reset makes it ready.
type xxh64 struct {
	acc  [4]uint64
	len  uint64
	tail [32]byte // the last len%32 bytes
}

func (x *xxh64) reset() {
	var p1, p2 uint64 = prime1, prime2 // variables, because they wrap
	*x = xxh64{acc: [4]uint64{p1 + p2, p2, 0, -p1}}
}

func xxhRound(acc, v uint64) uint64 {
	return bits.RotateLeft64(acc+v*prime2, 31) * prime1
}

func (x *xxh64) write(b []byte) {
	held := int(x.len % 32)
	x.len += uint64(len(b))
	if held > 0 {
		n := copy(x.tail[held:], b)
		b = b[n:]
		if held+n < 32 {
			return
		}
		x.stripes(x.tail[:])
	}
	b = x.stripes(b)
	copy(x.tail[:], b)
}

// stripes takes in all whole stripes of b and gives the rest.
func (x *xxh64) stripes(b []byte) []byte {
	le := binary.LittleEndian
	a0, a1, a2, a3 := x.acc[0], x.acc[1], x.acc[2], x.acc[3]
	for len(b) >= 32 {
		a0 = xxhRound(a0, le.Uint64(b))
		a1 = xxhRound(a1, le.Uint64(b[8:]))
		a2 = xxhRound(a2, le.Uint64(b[16:]))
		a3 = xxhRound(a3, le.Uint64(b[24:]))
		b = b[32:]
	}
	x.acc = [4]uint64{a0, a1, a2, a3}
	return b
}

func (x *xxh64) sum() uint64 {
	le := binary.LittleEndian
	h := uint64(prime5)
	if x.len >= 32 {
		h = bits.RotateLeft64(x.acc[0], 1) + bits.RotateLeft64(x.acc[1], 7) +
			bits.RotateLeft64(x.acc[2], 12) + bits.RotateLeft64(x.acc[3], 18)
		for _, a := range x.acc {
			h = (h^xxhRound(0, a))*prime1 + prime4
		}
	}
	h += x.len
	b := x.tail[:x.len%32]
	for ; len(b) >= 8; b = b[8:] {
		h = bits.RotateLeft64(h^xxhRound(0, le.Uint64(b)), 27)*prime1 + prime4
	}
	if len(b) >= 4 {
		h = bits.RotateLeft64(h^uint64(le.Uint32(b))*prime1, 23)*prime2 + prime3
		b = b[4:]
	}
	for _, c := range b {
		h = bits.RotateLeft64(h^uint64(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}
