package unzstd

import "math/bits"

// huffLog is the longest code of a literal, in bits (RFC 8878 §4.2.1).
const huffLog = 11

// A huffEntry tells what the next bits mean: bits 0–7 how many of them are the
// code, bits 8–15 the literal.
type huffEntry uint16

// huffTable is looked up by the next huffLog bits.
type huffTable [1 << huffLog]huffEntry

// weightMeanings is for the FSE table of weights.
var weightMeanings = func() (m [huffLog + 2]meaning) {
	for i := range m {
		m[i].base = uint32(i)
	}
	return m
}()

// read takes in a tree's description (RFC 8878 §4.2.1) and says how many bytes it
// has.
func (t *huffTable) read(in []byte) (int, error) {
	if len(in) == 0 {
		return 0, fault("huffman tree is cut off")
	}
	var weights [256]uint8
	var n, used int
	if head := int(in[0]); head >= 128 {
		n = head - 127
		used = 1 + (n+1)/2
		if used > len(in) {
			return 0, fault("huffman tree is cut off")
		}
		for i := range n {
			weights[i] = in[1+i/2] >> (4 * (^i & 1)) & 15
		}
	} else {
		used = 1 + head
		if used > len(in) {
			return 0, fault("huffman tree is cut off")
		}
		var err error
		if n, err = readWeights(weights[:255], in[1:used]); err != nil {
			return 0, err
		}
	}
	return used, t.build(&weights, n)
}

// readWeights decodes weights that are compressed by FSE, with two states that take
// turns (RFC 8878 §4.2.1.2), and says how many there are.
func readWeights(weights []uint8, in []byte) (int, error) {
	var c counts
	n, err := c.read(in, 6, huffLog+1)
	if err != nil {
		return 0, err
	}
	var t fseTable
	t.build(&c, weightMeanings[:])
	b, err := newBackBits(in[n:])
	if err != nil {
		return 0, err
	}
	state, other := b.take(t.log), b.take(t.log)
	if b.left < 0 {
		return 0, fault("huffman weights are cut off")
	}
	for n = 0; n < len(weights); n++ {
		e := t.entries[state]
		weights[n] = uint8(e.base())
		state, other = other, e.nextState(&b)
		if b.left < 0 {
			if n++; n < len(weights) {
				weights[n] = uint8(t.entries[state].base())
				return n + 1, nil
			}
		}
	}
	return 0, fault("too many huffman weights")
}

// build makes the table of n weights and the one that is not said, because the sum
// must be a power of two.
func (t *huffTable) build(weights *[256]uint8, n int) error {
	var count [huffLog + 2]int
	sum := 0
	for _, w := range weights[:n] {
		if w > huffLog {
			return fault("huffman code is too long")
		}
		count[w]++
		sum += 1 << w >> 1
	}
	log := bits.Len(uint(sum))
	if sum == 0 || log > huffLog {
		return fault("huffman weights are out of range")
	}
	rest := 1<<log - sum
	if rest&(rest-1) != 0 {
		return fault("huffman weights do not add up")
	}
	last := bits.Len(uint(rest))
	weights[n] = uint8(last)
	count[last]++
	// The longest codes come in pairs.
	if count[1] < 2 || count[1]&1 != 0 {
		return fault("huffman tree is not complete")
	}
	// The longest codes come first, those of one length by symbol.
	var next [huffLog + 2]int
	scale := huffLog - log
	for w := 1; w <= log; w++ {
		next[w+1] = next[w] + count[w]<<(w-1+scale)
	}
	for s, w := range weights[:n+1] {
		if w == 0 {
			continue
		}
		size := 1 << (int(w) - 1 + scale)
		e := huffEntry(s<<8 | (log + 1 - int(w)))
		codes := t[next[w] : next[w]+size]
		for i := range codes {
			codes[i] = e
		}
		next[w] += size
	}
	return nil
}

const errLiteralsEnd = fault("huffman stream does not end with its literals")

// decode fills out from a stream that must end with it.
func (t *huffTable) decode(out, in []byte) error {
	b, err := newBackBits(in)
	if err != nil {
		return err
	}
	t.plainDecode(out, &b)
	if b.left != 0 {
		return errLiteralsEnd
	}
	return nil
}

// plainDecode fills out.
func (t *huffTable) plainDecode(out []byte, b *backBits) {
	for i := range out {
		e := t[b.peek(huffLog)]
		out[i] = byte(e >> 8)
		b.left -= int(e & 0xff)
	}
}
