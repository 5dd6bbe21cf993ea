package inflate

import (
	"math/bits"
	"sync"
)

// Sizes of the alphabets (RFC 1951 §3.2.5 to 3.2.7). Literal/length symbols 286
// and 287 and distances 30 and 31 have fixed codes but no meaning.
const (
	maxCodeLen  = 15
	numLit      = 288
	maxLit      = 286
	numDist     = 32
	maxDist     = 30
	numLens     = 19
	endOfBlock  = 256
	firstLength = 257

	maxDistExtra = 13 // extra bits of a distance
)

// A decoding table is looked up by the next bits of the input, as many as its
// width. Codes that are longer have a link there to a second table, looked up
// by the bits after those. The widths are those that are fastest on real layers:
// 10 bits of a literal make 2 % less, 12 bits 9 %; 9 bits of a distance the same.
const (
	litWidth  = 11
	distWidth = 8
	lenWidth  = 7 // the longest code of a code length: no second tables

	// Room for the second tables as well: codes of 288 and 32 symbols need no
	// more than 2342 and 402 entries (zlib's examples/enough.c). Powers of two,
	// so that an index that is masked needs no check.
	litTableSize  = 4096
	distTableSize = 512
)

// tables are the two codes of a block.
type tables struct {
	lit  [litTableSize]entry
	dist [distTableSize]entry
}

// An entry tells what the next bits of the input mean.
//
//	bits 0–5    how many bits of input it uses up, extra bits included
//	bits 8–11   how many of these are the code
//	bits 12–13  isSpecial: end of block; link; neither: no code at all
//	bit 14      a match's length (or, in the table of distances, a distance)
//	bit 15      isSpecial
//	bits 16–31  the literal;
//	            the least length or distance, to which extra bits add;
//	            the code length;
//	            link: where the second table begins (its width is in bits 0–5)
type entry uint32

const (
	isEnd     entry = 1 << 12
	isLink    entry = 1 << 13
	isMatch   entry = 1 << 14
	isSpecial entry = 1 << 15

	// Bits without a meaning in a code; they must be there to be refused.
	noCode = isSpecial | 1
)

func (e entry) used() uint    { return uint(e & 63) }
func (e entry) codeLen() uint { return uint(e >> 8 & 15) }
func (e entry) value() int    { return int(e >> 16) }

// The entries of all symbols but for the code's length, which the table's
// construction adds to both of its places.
var (
	litEntries  = makeLitEntries()
	distEntries = makeDistEntries()
	lenEntries  = makeLenEntries()
)

// makeLitEntries follows RFC 1951 §3.2.5.
func makeLitEntries() (e [numLit]entry) {
	for i := range 256 {
		e[i] = entry(i) << 16
	}
	e[endOfBlock] = isSpecial | isEnd
	base := 3
	for i := range 28 {
		extra := max(0, i/4-1)
		e[firstLength+i] = isMatch | entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	e[285] = isMatch | 258<<16
	e[286], e[287] = isSpecial, isSpecial
	return e
}

// makeDistEntries follows RFC 1951 §3.2.5.
func makeDistEntries() (e [numDist]entry) {
	base := 1
	for i := range maxDist {
		extra := max(0, i/2-1)
		e[i] = isMatch | entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	e[30], e[31] = isSpecial, isSpecial
	return e
}

func makeLenEntries() (e [numLens]entry) {
	for i := range e {
		e[i] = entry(i) << 16
	}
	return e
}

// build fills t with the code that gives symbol i lens[i] bits, or no code for
// 0, and the meaning symbols[i]. It says false for what is no prefix code that
// covers all bit strings (RFC 1951 §3.2.2). As in zlib, an empty code passes,
// and one with a single code of one bit: their other bits are noCode.
func build(t []entry, width uint, lens []uint8, symbols []entry) bool {
	var count [maxCodeLen + 1]int
	for _, n := range lens {
		count[n]++
	}
	coded := len(lens) - count[0]
	count[0] = 0
	longest := maxCodeLen
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	space := 1 // codes of the current length that no shorter one is a prefix of
	for _, n := range count[1 : longest+1] {
		space = 2*space - n
		if space < 0 {
			return false
		}
	}
	if single := coded == 1 && longest == 1; space > 0 && coded > 0 && !single {
		return false
	}

	// Symbols in the order of their codes: by length, then by number.
	var next [maxCodeLen + 1]int
	for n := 1; n < longest; n++ {
		next[n+1] = next[n] + count[n]
	}
	var sorted [numLit]uint16
	for i, n := range lens {
		if n > 0 {
			sorted[next[n]] = uint16(i)
			next[n]++
		}
	}

	// The table for codes of up to n bits is the one for n-1 twice, and the codes
	// of n bits put in. Where longer ones belong there is garbage, until links
	// replace it.
	t[0] = noCode
	code, i := 0, 0
	for n := uint(1); n <= width; n++ {
		half := 1 << (n - 1)
		copy(t[half:2*half], t[:half])
		code <<= 1
		for range count[n] {
			t[reverse(code, n)] = symbols[sorted[i]] + codeOf(n)
			code++
			i++
		}
	}

	// Longer codes. Those that begin with the same width bits are neighbours
	// and share a second table.
	end := 1 << width
	prefix, subWidth := -1, uint(0)
	for n := width + 1; n <= uint(longest); n++ {
		code <<= 1
		for left := count[n]; left > 0; left-- {
			rev := reverse(code, n)
			if p := rev & (1<<width - 1); p != prefix {
				prefix = p
				subWidth = secondWidth(&count, n, left, width)
				t[p] = isSpecial | isLink | entry(end)<<16 | entry(subWidth)
				end += 1 << subWidth
			}
			start := t[prefix].value()
			e := symbols[sorted[i]] + codeOf(n)
			for at := rev >> width; at < 1<<subWidth; at += 1 << (n - width) {
				t[start+at] = e
			}
			code++
			i++
		}
	}
	return true
}

// codeOf is what a code of n bits adds to its symbol's entry.
func codeOf(n uint) entry { return entry(n<<8 | n) }

// reverse turns a code of n bits round: codes come with their first bit lowest.
func reverse(code int, n uint) int {
	return int(bits.Reverse16(uint16(code)) >> (16 - n))
}

// secondWidth finds how many bits the second table is looked up by that begins
// with a code of n bits, of which left are still to be placed: as many as its
// longest code needs, which is the one that fills the table.
func secondWidth(count *[maxCodeLen + 1]int, n uint, left int, width uint) uint {
	for used := left; used < 1<<(n-width) && n < maxCodeLen; {
		n++
		used = 2*used + count[n]
	}
	return n - width
}

// fixed gives the tables of fixed blocks (RFC 1951 §3.2.6).
var fixed = sync.OnceValue(func() *tables {
	var lens [numLit + numDist]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		case i < numLit:
			lens[i] = 8
		default:
			lens[i] = 5
		}
	}
	var t tables
	build(t.lit[:], litWidth, lens[:numLit], litEntries[:])
	build(t.dist[:], distWidth, lens[numLit:], distEntries[:])
	return &t
})
