package unzstd

import "math/bits"

// bitmap is a set of numbers from 0 on. Ranges given to its methods are not empty.
type bitmap []uint64

// masks gives the first and last word of the range [from, to), and which bits of
// them are in it.
func masks(from, to int) (first, last int, head, tail uint64) {
	return from >> 6, (to - 1) >> 6, ^uint64(0) << (from & 63), ^uint64(0) >> (-to & 63)
}

// set puts the numbers in [from, to) into b.
func (b bitmap) set(from, to int) {
	first, last, head, tail := masks(from, to)
	if first == last {
		b[first] |= head & tail
		return
	}
	b[first] |= head
	for i := first + 1; i < last; i++ {
		b[i] = ^uint64(0)
	}
	b[last] |= tail
}

// clear takes the numbers in [from, to) out of b.
func (b bitmap) clear(from, to int) {
	first, last, head, tail := masks(from, to)
	if first == last {
		b[first] &^= head & tail
		return
	}
	b[first] &^= head
	clear(b[first+1 : last])
	b[last] &^= tail
}

// all says whether all numbers in [from, to) are in b.
func (b bitmap) all(from, to int) bool {
	return b.next(from, to, ^uint64(0)) == to
}

// run finds the first run of numbers in b that begins in [from, to), and ends it
// there at the latest. If there is none, it gives to, to.
func (b bitmap) run(from, to int) (start, end int) {
	start = b.next(from, to, 0)
	if start == to {
		return to, to
	}
	return start, b.next(start, to, ^uint64(0))
}

// next finds the first number in [from, to) that is in b, or, with flip all ones,
// that is not, or gives to.
func (b bitmap) next(from, to int, flip uint64) int {
	for i := from >> 6; from < to; i++ {
		if w := (b[i] ^ flip) >> (from & 63); w != 0 {
			return min(to, from+bits.TrailingZeros64(w))
		}
		from = (i + 1) << 6
	}
	return to
}
