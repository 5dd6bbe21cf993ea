package inflate

import "encoding/binary"

// blockHeader reads the three bits before each block, and the tables or the
// length that come next (RFC 1951 §3.2.3).
func (r *Reader) blockHeader() error {
	in, bit := r.bits.offset()
	if out := r.outputOffset(); r.points.due(out) {
		r.points.begin(Point{In: in, Bit: bit, Out: out, Kind: AtBlock})
	}
	r.head, r.headBit = in, bit
	h, err := r.bits.take(3)
	if err != nil {
		return err
	}
	r.final = h&1 != 0
	switch h >> 1 {
	case 0:
		return r.storedHeader()
	case 1:
		r.codes = fixed()
		r.state = inHuffman
		return nil
	case 2:
		return r.dynamicHeader()
	}
	return r.corrupt("invalid block type")
}

// storedHeader reads the length of a block without compression (RFC 1951 §3.2.4).
func (r *Reader) storedHeader() error {
	r.bits.align()
	b, err := r.bits.bytes(4)
	if err != nil {
		return err
	}
	n, inverse := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	if n != ^inverse {
		return r.corrupt("length of a stored block is wrong")
	}
	r.bits.pos += len(b)
	r.stored = int(n)
	r.state = inStored
	return nil
}

// copyStored gives what is at hand of a stored block.
func (r *Reader) copyStored() error {
	if r.stored == 0 {
		r.endBlock()
		return nil
	}
	if r.bits.pos == len(r.bits.buf) {
		if err := r.bits.fill(); err != nil {
			return err
		}
	}
	b := r.bits.buf[r.bits.pos:]
	n := copy(r.out[r.pos:], b[:min(len(b), r.stored)])
	r.bits.pos += n
	r.pos += n
	r.stored -= n
	return nil
}

// endBlock goes on to what follows the current block.
func (r *Reader) endBlock() {
	r.state = atBlock
	if r.final {
		r.state = atTrailer
	}
}

// lensOrder is the order in which the lengths of code length codes come.
var lensOrder = [numLens]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicHeader reads the codes of a block that brings its own (RFC 1951 §3.2.7).
func (r *Reader) dynamicHeader() error {
	counts, err := r.bits.take(14)
	if err != nil {
		return err
	}
	nLit, nDist, nLens := int(counts&31+257), int(counts>>5&31+1), int(counts>>10+4)
	if nLit > maxLit || nDist > maxDist {
		return r.corrupt("too many symbols in a block's code")
	}
	var lens [numLens]uint8
	for _, i := range lensOrder[:nLens] {
		n, err := r.bits.take(3)
		if err != nil {
			return err
		}
		lens[i] = uint8(n)
	}
	if !build(r.lens[:], lenWidth, lens[:], lenEntries[:]) {
		return r.corrupt("invalid code for code lengths")
	}
	var all [maxLit + maxDist]uint8
	if err := r.codeLens(all[:nLit+nDist]); err != nil {
		return err
	}
	if !build(r.own.lit[:], litWidth, all[:nLit], litEntries[:]) {
		return r.corrupt("invalid code for literals and lengths")
	}
	if !build(r.own.dist[:], distWidth, all[nLit:nLit+nDist], distEntries[:]) {
		return r.corrupt("invalid code for distances")
	}
	r.codes = &r.own
	r.state = inHuffman
	return nil
}

// codeLens reads the lengths of a block's codes by means of r.lens.
func (r *Reader) codeLens(lens []uint8) error {
	for i := 0; i < len(lens); {
		e, err := r.bits.lookup(r.lens[:], lenWidth)
		if err != nil {
			return err
		}
		if e&isSpecial != 0 {
			return r.corrupt("invalid code length")
		}
		r.bits.drop(e.used())
		v := e.value()
		if v < 16 {
			lens[i] = uint8(v)
			i++
			continue
		}
		repeat := [3]struct {
			least int
			extra uint
		}{{3, 2}, {3, 3}, {11, 7}}[v-16]
		more, err := r.bits.take(repeat.extra)
		if err != nil {
			return err
		}
		n := repeat.least + int(more)
		if n > len(lens)-i || v == 16 && i == 0 {
			return r.corrupt("repeated code length out of place")
		}
		for end := i + n; i < end; i++ {
			if v == 16 {
				lens[i] = lens[i-1]
			}
		}
	}
	return nil
}
