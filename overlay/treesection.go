package overlay

import (
	"hash/crc32"
	"runtime/debug"
)

// A section is a part of a mapped tree file. The file may be damaged while it is
// used, and pages that memory was short of are read again: so what is taken out
// is checked each time, by blocks, against the sums that were made when the
// section as a whole was.
type section struct {
	data []byte
	sums []uint32 // of each block; nil where none is wanted, and nothing is checked
}

// sumBlock is how many bytes have a sum: few, as most records are a few dozen
// bytes; 35 ns to check, and .8 % of a tree in memory.
const sumBlock = 512

// newSection makes the sums of the blocks, and gives the checksum of all, for a
// bit more than that costs alone.
func newSection(data []byte) (s section, sum uint32) {
	s.data, s.sums = data, make([]uint32, 0, (len(data)+sumBlock-1)/sumBlock)
	for len(data) >= sumBlock {
		one := checksum(data[:sumBlock])
		s.sums = append(s.sums, one)
		sum = afterBlock.apply(sum) ^ one
		data = data[sumBlock:]
	}
	if len(data) > 0 {
		s.sums = append(s.sums, checksum(data))
		sum = crc32.Update(sum, castagnoli, data)
	}
	return s, sum
}

func (s *section) len() uint64 { return uint64(len(s.data)) }

// What read says of bytes that it does not give.
const (
	outOfRange = "out of range"
	damaged    = "damaged since it was opened"
)

// read gives n bytes from off on, which are part of the mapping; else what is
// wrong with them.
func (s *section) read(off, n uint64) (b []byte, wrong string) {
	if off > s.len() || n > s.len()-off {
		return nil, outOfRange
	}
	if n > 0 && s.sums != nil && !s.sound(off/sumBlock, (off+n-1)/sumBlock) {
		return nil, damaged
	}
	return s.data[off : off+n : off+n], ""
}

// sound checks blocks first to last. A file that has been cut short is a fault
// where it is read, and not sound.
func (s *section) sound(first, last uint64) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	for i := first; i <= last; i++ {
		from := i * sumBlock
		if checksum(s.data[from:min(from+sumBlock, s.len())]) != s.sums[i] {
			return false
		}
	}
	return true
}

// A crcShift gives out of the CRC of some bytes that of the same bytes and as
// many zeros after them as it was made for, but for the conditioning: CRCs are
// linear, so crc(AB) is the shifted crc(A) xor crc(B) (zlib's crc32_combine).
type crcShift [4][256]uint32

var afterBlock = newCRCShift(sumBlock)

func newCRCShift(n int) *crcShift {
	var c crcShift
	zeros := make([]byte, n)
	for k := range c {
		for bit := range 8 {
			v := uint32(1) << (8*k + bit)
			// Update complements before and after.
			c[k][1<<bit] = ^crc32.Update(^v, castagnoli, zeros)
		}
		for i := range c[k] {
			if low := i & (i - 1); low != 0 {
				c[k][i] = c[k][low] ^ c[k][i&-i]
			}
		}
	}
	return &c
}

func (c *crcShift) apply(v uint32) uint32 {
	return c[0][v&0xff] ^ c[1][v>>8&0xff] ^ c[2][v>>16&0xff] ^ c[3][v>>24]
}
