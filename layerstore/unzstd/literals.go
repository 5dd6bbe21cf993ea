package unzstd

// What a literals section holds (RFC 8878 §3.1.1.3.1.1).
const (
	rawLiterals = iota
	rleLiterals
	huffLiterals
	treelessLiterals
)

// literals decodes the literals section at the start of a block and says how many
// bytes it has. r.lits is valid until the next block.
func (r *Reader) literals(b []byte) (int, error) {
	cut := fault("literals are cut off")
	kind, format := b[0]&3, b[0]>>2&3
	if kind == rawLiterals || kind == rleLiterals {
		// A size of 5, 12 or 20 bits.
		head := [4]int{1, 2, 1, 3}[format]
		shift := [4]uint{3, 4, 3, 4}[format]
		if len(b) < head {
			return 0, cut
		}
		size := int(number(b[:head]) >> shift)
		if size > r.history.maxBlock() {
			return 0, fault("literals are too long")
		}
		if kind == rawLiterals {
			if len(b) < head+size {
				return 0, cut
			}
			r.lits = b[head : head+size]
			return head + size, nil
		}
		if len(b) < head+1 {
			return 0, cut
		}
		r.lits = r.litBuf[:size]
		fill(r.lits, b[head])
		return head + 1, nil
	}

	// Two sizes of 10, 10, 14 or 18 bits.
	head := [4]int{3, 3, 4, 5}[format]
	width := [4]uint{10, 10, 14, 18}[format]
	if len(b) < head {
		return 0, cut
	}
	sizes := number(b[:head]) >> 4
	size, stored := int(sizes&(1<<width-1)), int(sizes>>width)
	if size > r.history.maxBlock() {
		return 0, fault("literals are too long")
	}
	if len(b) < head+stored {
		return 0, cut
	}
	in := b[head : head+stored]
	if kind == huffLiterals {
		n, err := r.huff.read(in)
		if err != nil {
			return 0, err
		}
		r.points.replaced(litTable)
		r.described[litTable] = append(r.described[litTable][:0], in[:n]...)
		in = in[n:]
	} else {
		if len(r.described[litTable]) == 0 {
			return 0, fault("literals refer to a huffman tree that was never given")
		}
		r.points.repeated(litTable, r.described[litTable])
	}
	r.lits = r.litBuf[:size]
	if format == 0 {
		return head + stored, r.huff.decode(r.lits, in)
	}
	return head + stored, r.huff.decode4(r.lits, in, r.plain)
}

// decode4 fills out from four streams, each of which gives a fourth (RFC 8878
// §3.1.1.3.1.6).
func (t *huffTable) decode4(out, in []byte, plain bool) error {
	quarter := (len(out) + 3) / 4
	if len(in) < 6 || 3*quarter > len(out) {
		return fault("huffman streams are cut off")
	}
	sizes, in := in[:6], in[6:]
	var b [4]backBits
	for i := range b {
		size := len(in)
		if i < 3 {
			size = int(sizes[2*i]) | int(sizes[2*i+1])<<8
		}
		if size > len(in) {
			return fault("huffman streams are cut off")
		}
		var err error
		if b[i], err = newBackBits(in[:size]); err != nil {
			return err
		}
		in = in[size:]
	}
	done := 0
	if !plain {
		done = t.fast4(out, quarter, &b)
	}
	for i := range b {
		n := min(quarter, len(out))
		t.plainDecode(out[done:n], &b[i])
		if b[i].left != 0 {
			return errLiteralsEnd
		}
		out = out[n:]
	}
	return nil
}
