//go:build amd64 || arm64

package unzstd

import (
	"math/bits"
	"unsafe"
)

// The loops in this file are three times as fast as their plain twins. They are
// written with unsafe, because slices, whose every access is checked once more, are
// slower, and rely on a machine that is little-endian and reads words at any
// address. What makes each access safe is said beside it.

// huffRound is how many literals of each of four streams are decoded between two
// looks at the input, and roundBits the most bits that they have.
const (
	huffRound = 5
	roundBits = huffRound * huffLog
)

// fast4 decodes literals of four streams, each into a quarter of out, as
// plainDecode does. It gives how many of each.
func (t *huffTable) fast4(out []byte, quarter int, b *[4]backBits) int {
	done := 0
	// The last quarter is the shortest.
	for last := len(out) - 3*quarter; ; {
		rounds := (last - done) / huffRound
		for i := range b {
			// To begin a round there must be 64 bits, and each uses up at most
			// roundBits.
			rounds = min(rounds, (b[i].left-64+roundBits)/roundBits)
		}
		if rounds <= 0 {
			return done
		}
		t.rounds4(unsafe.Pointer(&out[done]), quarter, b, rounds)
		done += rounds * huffRound
	}
}

// rounds4 decodes rounds for which fast4 has found input and output to be there.
func (t *huffTable) rounds4(to unsafe.Pointer, quarter int, b *[4]backBits, rounds int) {
	s0, end0 := openStream(&b[0])
	s1, end1 := openStream(&b[1])
	s2, end2 := openStream(&b[2])
	s3, end3 := openStream(&b[3])
	to2 := unsafe.Add(to, 2*quarter)
	for range rounds {
		s0, s1 = t.put(s0, s1, unsafe.Add(to, 0), quarter)
		s2, s3 = t.put(s2, s3, unsafe.Add(to2, 0), quarter)
		s0, s1 = t.put(s0, s1, unsafe.Add(to, 1), quarter)
		s2, s3 = t.put(s2, s3, unsafe.Add(to2, 1), quarter)
		s0, s1 = t.put(s0, s1, unsafe.Add(to, 2), quarter)
		s2, s3 = t.put(s2, s3, unsafe.Add(to2, 2), quarter)
		s0, s1 = t.put(s0, s1, unsafe.Add(to, 3), quarter)
		s2, s3 = t.put(s2, s3, unsafe.Add(to2, 3), quarter)
		s0, s1 = t.put(s0, s1, unsafe.Add(to, 4), quarter)
		s2, s3 = t.put(s2, s3, unsafe.Add(to2, 4), quarter)
		to, to2 = unsafe.Add(to, huffRound), unsafe.Add(to2, huffRound)
		s0, end0 = refill(s0, end0)
		s1, end1 = refill(s1, end1)
		s2, end2 = refill(s2, end2)
		s3, end3 = refill(s3, end3)
	}
	closeStream(&b[0], s0, end0)
	closeStream(&b[1], s1, end1)
	closeStream(&b[2], s2, end2)
	closeStream(&b[3], s3, end3)
}

// put puts the literals that the next bits of two streams mean, and uses them up.
func (t *huffTable) put(s, u uint64, to unsafe.Pointer, quarter int) (uint64, uint64) {
	e, f := t[s>>(64-huffLog)], t[u>>(64-huffLog)]
	*(*byte)(to) = byte(e >> 8)
	*(*byte)(unsafe.Add(to, quarter)) = byte(f >> 8)
	return s << (e & 63), u << (f & 63)
}

// openStream gives the next bits of b, which has at least 64, highest first, and
// the end of the eight bytes that they are from. Of the bits, the lowest 1 is a
// mark: below it are as many zeros as bits are used up.
func openStream(b *backBits) (s uint64, end unsafe.Pointer) {
	n := (b.left + 7) >> 3
	end = unsafe.Add(unsafe.Pointer(&b.in[0]), n)
	return (before(end) | 1) << (-b.left & 7), end
}

// before is the word that ends at end.
func before(end unsafe.Pointer) uint64 {
	return *(*uint64)(unsafe.Add(end, -8))
}

// refill goes on by the whole bytes that are used up. That s has up to 55+7 such
// bits, and that 64 bits are before those of the next round, is fast4's business.
func refill(s uint64, end unsafe.Pointer) (uint64, unsafe.Pointer) {
	n := bits.TrailingZeros64(s)
	end = unsafe.Add(end, -(n >> 3))
	return (before(end) | 1) << (n & 7), end
}

// closeStream puts back what is not used up. s comes from refill.
func closeStream(b *backBits, s uint64, end unsafe.Pointer) {
	b.left = 8*int(uintptr(end)-uintptr(unsafe.Pointer(&b.in[0]))) - bits.TrailingZeros64(s)
}

// wordBits is how many bits are at least left of eight bytes if the first to be
// taken may be anywhere in the last one; seqBits how many bits of input there must
// be to begin a sequence in the fast loop.
const (
	wordBits = 57
	seqBits  = 64
)

// fastRead decodes sequences as plainNext does, not the block's last one, while
// there is input in plenty and none has more than wordBits. It gives how many.
func (s *sequenceReader) fastRead(batch []sequence) int {
	b := &s.bits
	if b.left < seqBits {
		return 0
	}
	const (
		size    = unsafe.Sizeof(fseTable{})
		entries = unsafe.Offsetof(fseTable{}.entries)
	)
	in, left := unsafe.Pointer(&b.in[0]), b.left
	tables := unsafe.Pointer(s.tables)
	// States are in range of their tables: see fseTable.
	litState, distState, matchState := uint(s.states[litLenTable]), uint(s.states[distTable]), uint(s.states[matchTable])
	n := 0
	// The compiler arranges badly what it inlines. That nothing is called in this
	// loop makes the whole decoder 10 % faster.
	for n < len(batch) && left >= seqBits {
		lit := *(*uint64)(unsafe.Add(tables, litLenTable*size+entries+uintptr(litState)*8))
		dist := *(*uint64)(unsafe.Add(tables, distTable*size+entries+uintptr(distState)*8))
		match := *(*uint64)(unsafe.Add(tables, matchTable*size+entries+uintptr(matchState)*8))
		sum := dist + match + lit
		used := uint(uint8(sum)) + uint(uint8(sum>>8))
		if used > wordBits {
			break
		}
		// There are eight bytes before the next bit, because of seqBits. The
		// sequence's bits are shifted down to the lowest ones, and taken from the
		// last on, which are those that lead to the next states.
		w := *(*uint64)(unsafe.Add(in, int(uint(left+7)>>3)-8))
		w = w << (-left & 7) >> 1 >> (^used & 63)
		left -= int(used)

		distState = uint(w)&uint(ones[dist&63]) + uint(uint16(dist>>16))
		w >>= dist & 63
		matchState = uint(w)&uint(ones[match&63]) + uint(uint16(match>>16))
		w >>= match & 63
		litState = uint(w)&uint(ones[lit&63]) + uint(uint16(lit>>16))
		w >>= lit & 63

		q := &batch[n]
		n++
		q.lits = uint32(w)&ones[lit>>8&63] + uint32(lit>>32)
		w >>= lit >> 8 & 63
		q.match = uint32(w)&ones[match>>8&63] + uint32(match>>32)
		w >>= match >> 8 & 63
		q.value = uint32(w) + uint32(dist>>32)
	}
	b.left = left
	s.states = [3]uint32{litLenTable: uint32(litState), distTable: uint32(distState), matchTable: uint32(matchState)}
	return n
}

// ones are as many set bits as the index says, which is up to 32.
var ones = func() (m [64]uint32) {
	for i := range m {
		m[i] = 1<<i - 1
	}
	return m
}()

// fastExecute executes sequences as plainExecute does, until one is wrong or its
// match not near. It gives how many. Of the next one, if its match is far, all but
// the match is done, and its distance is given. limit is at least slack before the
// ring's end.
func (r *Reader) fastExecute(batch []sequence, limit int) (n, dist int, isFar bool) {
	h := &r.history
	ring := unsafe.Pointer(unsafe.SliceData(h.ring))
	to, near := unsafe.Add(ring, h.pos), uintptr(ring)+uintptr(r.near(limit))
	lit := unsafe.Add(unsafe.Pointer(unsafe.SliceData(r.lits)), r.litPos)
	litsLeft, room := len(r.lits)-r.litPos, limit-h.pos
	rep0, rep1, rep2 := r.reps[0], r.reps[1], r.reps[2]
	for ; n < len(batch); n++ {
		q := &batch[n]
		lits, match, d := int(q.lits), int(q.match), q.value
		if lits > litsLeft || lits+match > room {
			break
		}
		litsLeft -= lits
		room -= lits + match
		// What is copied too much, here and below, is at most 32 bytes. It is
		// overwritten by what comes next, or lies in the slack after limit; after
		// the literals there is slack as well.
		copy32(to, lit)
		if lits > 32 {
			copyFar(unsafe.Add(to, 32), unsafe.Add(lit, 32), lits-32)
		}
		lit, to = unsafe.Add(lit, lits), unsafe.Add(to, lits)

		// As repeatedDist.
		if d > 3 {
			d -= 3
			rep2, rep1, rep0 = rep1, rep0, d
		} else {
			if lits == 0 {
				d++
			}
			switch d {
			case 1:
				d = rep0
			case 2:
				d = rep1
				rep1, rep0 = rep0, d
			case 3:
				d = rep2
				rep2, rep1, rep0 = rep1, rep0, d
			default:
				d = rep0 - 1
				rep2, rep1, rep0 = rep1, rep0, d
			}
		}
		// A distance of 0 wraps.
		if uintptr(d)-1 >= uintptr(to)-near {
			dist, isFar = int(d), true
			break
		}
		from, next := unsafe.Add(to, -int(d)), unsafe.Add(to, match)
		if d >= 16 {
			copy32(to, from)
			if match > 32 {
				copyFar(unsafe.Add(to, 32), unsafe.Add(from, 32), match-32)
			}
		} else {
			copyNear(to, from, next, int(d))
		}
		to = next
	}
	h.pos = int(uintptr(to) - uintptr(ring))
	r.litPos = len(r.lits) - litsLeft
	r.reps = [3]uint32{rep0, rep1, rep2}
	return n, dist, isFar
}

// near is the place in the ring from which on a match in a block that ends at limit
// may just be copied: in the current generation, the current frame, the window, and
// not before an open Point, or the one that was resumed from.
func (r *Reader) near(limit int) int {
	h := &r.history
	return max(0, limit-h.window, int(max(h.start, r.points.start())-h.base))
}

// copy32 copies 32 bytes whose source begins at least 16 before, or lies elsewhere.
func copy32(to, from unsafe.Pointer) {
	*(*[16]byte)(to) = *(*[16]byte)(from)
	*(*[16]byte)(unsafe.Add(to, 16)) = *(*[16]byte)(unsafe.Add(from, 16))
}

// copyFar copies n bytes and up to 31 more. The source is as of copy32.
func copyFar(to, from unsafe.Pointer, n int) {
	for last := unsafe.Add(to, n); uintptr(to) < uintptr(last); {
		copy32(to, from)
		to, from = unsafe.Add(to, 32), unsafe.Add(from, 32)
	}
}

// copyNear copies up to next, and up to 7 bytes more, from dist < 16 before.
func copyNear(to, from, next unsafe.Pointer, dist int) {
	switch {
	case dist >= 8:
		for uintptr(to) < uintptr(next) {
			*(*[8]byte)(to) = *(*[8]byte)(from)
			to, from = unsafe.Add(to, 8), unsafe.Add(from, 8)
		}
	case dist == 1:
		v := 0x0101010101010101 * uint64(*(*byte)(from))
		for uintptr(to) < uintptr(next) {
			*(*uint64)(to) = v
			to = unsafe.Add(to, 8)
		}
	default:
		// Each step makes dist more bytes right, and garbage after them.
		for uintptr(to) < uintptr(next) {
			*(*[8]byte)(to) = *(*[8]byte)(from)
			to, from = unsafe.Add(to, dist), unsafe.Add(from, dist)
		}
	}
}
