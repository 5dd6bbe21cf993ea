package unzstd

import "math/bits"

// A symbol's meaning: a number of at least base, to which as many bits as extra
// says are added.
type meaning struct {
	base  uint32
	extra uint8
}

// An entry of an FSE table tells what a state means, and how to come to the next
// state (RFC 8878 §4.1). Three of them can be added, and the lower two numbers of
// the sum are right.
//
//	bits 0–7    how many bits of input are added to the least next state, after the extra bits
//	bits 8–15   how many extra bits the meaning has
//	bits 16–31  the least next state
//	bits 32–63  base of the meaning
type entry uint64

func newEntry(m meaning, next uint32, stateBits uint) entry {
	return entry(stateBits) | entry(m.extra)<<8 | entry(next)<<16 | entry(m.base)<<32
}

func (e entry) stateBits() uint { return uint(e & 63) }
func (e entry) extra() uint     { return uint(e >> 8 & 63) }
func (e entry) next() uint32    { return uint32(e>>16) & 0xffff }
func (e entry) base() uint32    { return uint32(e >> 32) }

// nextState takes the bits that lead from the state of e to the next one.
func (e entry) nextState(b *backBits) uint32 { return e.next() + b.take(e.stateBits()) }

// meant takes the extra bits and gives what is meant.
func (e entry) meant(b *backBits) uint32 { return e.base() + b.take(e.extra()) }

// maxFSELog bounds the accuracy of all FSE tables.
const maxFSELog = 9

// fseTable is a decoding table: its first 1<<log entries, none of which leads to
// another one than these.
type fseTable struct {
	log     uint
	entries [1 << maxFSELog]entry
}

// counts are the normalized probabilities of a table's symbols: -1 means less than
// one.
type counts struct {
	log  uint
	norm []int16
	room [256]int16
}

// read takes in a table's description (RFC 8878 §4.1.1) and says how many bytes it
// has.
func (c *counts) read(in []byte, maxLog uint, maxSymbol int) (int, error) {
	b := frontBits{in: in}
	c.log = uint(b.take(4)) + 5
	if c.log > maxLog {
		return 0, fault("FSE table is too large")
	}
	c.norm = c.room[:0]
	for left := 1 << c.log; left > 0; {
		if len(c.norm) > maxSymbol {
			return 0, fault("FSE table has too many symbols")
		}
		// A number of 0 to left+1. The lower ones, as many as leave a bit unused,
		// take one bit less.
		n := bits.Len(uint(left + 1))
		v, half := b.peek(n), 1<<(n-1)
		short := 2*half - 1 - (left + 1)
		switch {
		case v&(half-1) < short:
			v &= half - 1
			n--
		case v >= half:
			v -= short
		}
		b.pos += n
		v--
		c.norm = append(c.norm, int16(v))
		left -= max(v, -v)
		if v != 0 {
			continue
		}
		for more := 3; more == 3; {
			more = b.take(2)
			if len(c.norm)+more > maxSymbol+1 || b.pos > 8*len(in) {
				return 0, fault("FSE table has too many symbols")
			}
			for range more {
				c.norm = append(c.norm, 0)
			}
		}
	}
	n := (b.pos + 7) / 8
	if n > len(in) {
		return 0, fault("FSE table is cut off")
	}
	return n, nil
}

// build makes the table of c, whose symbols have the given meanings.
func (t *fseTable) build(c *counts, meanings []meaning) {
	t.log = c.log
	size := uint32(1) << c.log
	entries := t.entries[:size]
	// First the entries hold symbols only. Those of a probability less than one get
	// the last states, the others are strewn over the rest.
	var next [256]uint16
	high := size
	for s, n := range c.norm {
		next[s] = uint16(n)
		if n < 0 {
			high--
			entries[high] = entry(s)
			next[s] = 1
		}
	}
	at, step := uint32(0), size>>1+size>>3+3
	for s, n := range c.norm {
		for range n {
			entries[at] = entry(s)
			at = (at + step) & (size - 1)
			for at >= high {
				at = (at + step) & (size - 1)
			}
		}
	}
	for i := range entries {
		s := entries[i] & 0xff
		state := uint32(next[s])
		next[s]++
		n := c.log + 1 - uint(bits.Len32(state))
		entries[i] = newEntry(meanings[s], state<<n-size, n)
	}
}

// single makes the table that always gives one meaning and uses no bits.
func (t *fseTable) single(m meaning) {
	t.log = 0
	t.entries[0] = newEntry(m, 0, 0)
}

// copyOf makes the same table as u.
func (t *fseTable) copyOf(u *fseTable) {
	t.log = u.log
	copy(t.entries[:1<<u.log], u.entries[:])
}
