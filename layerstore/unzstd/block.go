package unzstd

// blockType is what a block's header says (RFC 8878 §3.1.1.2.2).
type blockType uint8

const (
	rawBlock blockType = iota
	rleBlock
	compressedBlock
)

// block decodes the next block.
func (r *Reader) block() error {
	h := &r.history
	in, out := r.in.offset(), h.out()
	b, err := r.in.need(3)
	if err != nil {
		return err
	}
	head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	last, kind, size := head&1 != 0, blockType(head>>1&3), head>>3
	if kind > compressedBlock {
		return r.corrupt("reserved block type")
	}
	if size > h.maxBlock() {
		return r.corrupt("block is too large")
	}
	stored := size
	if kind == rleBlock {
		stored = 1
	}
	if b, err = r.in.need(3 + stored); err != nil {
		return err
	}
	b = b[3:]

	if r.points.dueBlock(in, out, h.window) {
		r.points.beginBlock(in, blockState{window: h.window, left: r.frame.left, summed: r.frame.summed, reps: r.reps}, h)
	}
	if h.pos+h.room() > len(h.ring) {
		r.points.harvest(h, h.base)
		h.wrap()
	}
	r.points.harvest(h, h.overwritten())

	start := h.pos
	switch kind {
	case rawBlock:
		copy(h.ring[h.pos:], b)
		h.pos += size
	case rleBlock:
		fill(h.ring[h.pos:h.pos+size], b[0])
		h.pos += size
	case compressedBlock:
		if err := r.compressed(b); err != nil {
			if f, ok := err.(fault); ok {
				return r.corrupt(string(f))
			}
			return err
		}
	}
	r.in.pos += 3 + stored
	made := h.ring[start:h.pos]
	if f := &r.frame; f.left >= 0 {
		if len(made) > int(f.left) {
			return r.corrupt("frame has more than its content size")
		}
		f.left -= int64(len(made))
	}
	if f := &r.frame; f.summed && f.checked {
		f.sum.write(made)
	}
	if len(made) > 0 {
		r.points.wrote()
	}
	r.ready = made
	if last {
		r.state = atFrameEnd
	}
	return nil
}

func fill(b []byte, v byte) {
	if len(b) == 0 {
		return
	}
	b[0] = v
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// compressed decodes a compressed block (RFC 8878 §3.1.1.3). Errors are faults.
func (r *Reader) compressed(b []byte) error {
	if len(b) < 2 {
		return fault("compressed block is too small")
	}
	r.litPos = 0
	n, err := r.literals(b)
	if err != nil {
		return err
	}
	return r.sequences(b[n:])
}
