package unzstd

// history is the output that matches may refer to, in a ring: where a block might
// not fit before ring's end, output goes on at its start. What lies before pos is
// the current generation; what lies after it, up to end, is the one before, as far
// as it is not overwritten.
type history struct {
	ring   []byte
	mapped *ringMap // that ring lies in; nil is the heap
	pos    int      // of the next byte of output
	end    int      // where the generation before ends
	base   int64    // offset in the uncompressed stream of ring[0], in the current generation
	// start is the offset in the uncompressed stream before which no match may
	// reach.
	start  int64
	window int // how far back a match may reach

	offHeap bool // as Reader.OffHeap says
}

// maxBlock is the size of the largest block, in bytes (RFC 8878 §3.1.1.2.4).
const maxBlock = 128 << 10

// spare is by how much the ring is larger than it must be, in bytes.
const spare = 1 << 20

// room is what a block may write: its output, and slack.
func (h *history) room() int { return h.maxBlock() + slack }

// maxBlock is the size of the frame's largest block.
func (h *history) maxBlock() int { return min(h.window, maxBlock) }

// reset makes h empty; the output goes on at offset out.
func (h *history) reset(window int, out int64) {
	h.window = window
	if need := window + 2*h.room() + min(window, spare); len(h.ring) < need {
		h.release()
		h.ring, h.mapped = newRing(need, h.offHeap)
	}
	h.pos, h.end, h.base, h.start = 0, 0, out, out
}

// release gives the ring up.
func (h *history) release() {
	if h.mapped != nil {
		h.mapped.close()
	}
	h.ring, h.mapped = nil, nil
}

// out is the offset in the uncompressed stream of the next byte of output.
func (h *history) out() int64 { return h.base + int64(h.pos) }

// wrap begins a new generation.
func (h *history) wrap() {
	h.base += int64(h.pos)
	h.end, h.pos = h.pos, 0
}

// overwritten is the offset in the uncompressed stream before which a block at pos
// may overwrite output.
func (h *history) overwritten() int64 {
	return h.base + int64(min(0, h.pos+h.room()-h.end))
}

// at gives output from offset out on, as far as it is contiguous. It must be at
// hand.
func (h *history) at(out int64) []byte {
	if out < h.base {
		return h.ring[h.end-int(h.base-out) : h.end]
	}
	return h.ring[out-h.base : h.pos]
}

// copyMatch repeats n bytes from dist back, which are at hand.
func (h *history) copyMatch(dist, n int) {
	if dist > h.pos {
		// In the generation before.
		from := h.end + h.pos - dist
		k := copy(h.ring[h.pos:h.pos+n], h.ring[from:h.end])
		h.pos += k
		n -= k
	}
	// Each step doubles what there is to copy, where a match overlaps itself.
	for n > 0 {
		from := h.pos - dist
		k := copy(h.ring[h.pos:h.pos+n], h.ring[from:h.pos])
		h.pos += k
		n -= k
	}
}
