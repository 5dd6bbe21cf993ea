package inflate

// lookup finds the entry of the next bits in t, of the given width, and has
// the bits that it uses in the bit buffer, but does not use them up.
func (b *bitReader) lookup(t []entry, width uint) (entry, error) {
	for {
		// Where fewer bits are at hand than a code has, zeros stand for the
		// rest; the entry found then uses more than are there, whatever it is.
		e := t[b.bits&(1<<width-1)]
		if e&(isSpecial|isLink) == isSpecial|isLink {
			e = t[e.value()+int(b.bits>>width&(1<<e.used()-1))]
		}
		if e.used() <= b.n {
			return e, nil
		}
		if err := b.need(b.n + 1); err != nil {
			return 0, err
		}
	}
}

// extra gives the number that the bits of e mean, with its extra bits, and
// uses them up.
func (b *bitReader) extra(e entry) int {
	v := e.value() + int(b.bits&(1<<e.used()-1)>>e.codeLen())
	b.drop(e.used())
	return v
}

// plainSymbol decodes one literal, match or end of block. Of a match that is too
// long for the output the rest is left in r.match.
func (r *Reader) plainSymbol() error {
	e, err := r.bits.lookup(r.codes.lit[:], litWidth)
	if err != nil {
		return err
	}
	switch {
	case e&(isSpecial|isMatch) == 0:
		r.bits.drop(e.used())
		r.out[r.pos] = byte(e.value())
		r.pos++
		return nil
	case e&isMatch != 0:
		length := r.bits.extra(e)
		e, err := r.bits.lookup(r.codes.dist[:], distWidth)
		if err != nil {
			return err
		}
		if e&isSpecial != 0 {
			return r.corrupt("invalid distance code")
		}
		return r.beginMatch(length, r.bits.extra(e))
	case e&isEnd != 0:
		r.bits.drop(e.used())
		r.endBlock()
		return nil
	}
	return r.corrupt("invalid literal or length code")
}

// beginMatch takes up a match and copies as much of it as fits into the output.
func (r *Reader) beginMatch(length, dist int) error {
	if r.pos-dist < r.floor {
		return r.corrupt("distance reaches before the start")
	}
	if r.points.isOpen {
		r.mark(length, dist)
	}
	r.match, r.matchDist = length, dist
	r.copyMatch()
	return nil
}

// copyMatch copies what is left of the current match and fits into the output.
func (r *Reader) copyMatch() {
	n := min(r.match, len(r.out)-r.pos)
	r.match -= n
	for n > 0 {
		// At most matchDist at once: the source must be there already.
		c := min(n, r.matchDist)
		r.back(r.out[r.pos:r.pos+c], r.matchDist)
		r.pos += c
		n -= c
	}
}

// back fills dst with the output that begins dist bytes before the current
// place, dist at least len(dst).
func (r *Reader) back(dst []byte, dist int) {
	from := r.pos - dist
	if from < 0 {
		n := copy(dst, r.hist[windowSize+from:windowSize])
		dst, from = dst[n:], 0
	}
	copy(dst, r.out[from:])
}

// mark notes that a match at the current place may refer to the open Point's window.
func (r *Reader) mark(length, dist int) {
	from := r.points.open.Out - r.outputOffset() + int64(dist) // bytes before the Point
	if from <= 0 {
		return
	}
	at := windowSize - int(from)
	r.back(r.points.window[at:min(windowSize, at+length)], dist)
}
