package unzstd

// A sequence is literals to copy, and a match to repeat after them.
type sequence struct {
	lits, match uint32 // lengths
	value       uint32 // what stands for the distance: see repeatedDist
}

// batchSize is how many sequences are decoded before they are executed: few enough
// to stay in the first-level cache.
const batchSize = 512

// The tables that a block may take over from the one before, in the order of the
// modes in a sequences section.
const (
	litLenTable = iota
	distTable
	matchTable
	litTable
	numTables
)

// How a block gives a table of its sequences (RFC 8878 §3.1.1.3.2.1).
const (
	predefinedTable = iota
	rleTable
	fseCoded
	repeatedTable
)

// sequenceKind is one of the three numbers in a sequence.
type sequenceKind struct {
	maxLog     uint
	meanings   []meaning
	predefined fseTable
}

// sequenceKinds is indexed by litLenTable, distTable, matchTable.
var sequenceKinds = [3]*sequenceKind{
	newSequenceKind(9, litLenMeanings(), 6, []int16{
		4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1}),
	newSequenceKind(8, distMeanings(), 5, []int16{
		1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}),
	newSequenceKind(9, matchMeanings(), 6, []int16{
		1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1}),
}

// newSequenceKind takes the predefined distribution (RFC 8878 §3.1.1.3.2.2) with
// its log.
func newSequenceKind(maxLog uint, meanings []meaning, log uint, norm []int16) *sequenceKind {
	k := &sequenceKind{maxLog: maxLog, meanings: meanings}
	k.predefined.build(&counts{log: log, norm: norm}, meanings)
	return k
}

// litLenMeanings are the codes of literal lengths (RFC 8878 §3.1.1.3.2.1.1).
func litLenMeanings() []meaning {
	return steps(0, 16, []uint8{1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
}

// matchMeanings are the codes of match lengths.
func matchMeanings() []meaning {
	return steps(3, 32, []uint8{1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
}

// steps are plain codes, from first on, followed by some with extra bits.
func steps(first uint32, plain int, extra []uint8) []meaning {
	var m []meaning
	for range plain {
		m = append(m, meaning{base: first})
		first++
	}
	for _, n := range extra {
		m = append(m, meaning{first, n})
		first += 1 << n
	}
	return m
}

// distMeanings are the codes of distances. The format has one more, of no less than
// 2 GiB.
func distMeanings() []meaning {
	var m []meaning
	for n := range uint8(31) {
		m = append(m, meaning{1 << n, n})
	}
	return m
}

// sequences decodes a block's second section (RFC 8878 §3.1.1.3.2) and executes it.
func (r *Reader) sequences(b []byte) error {
	cut := fault("sequences are cut off")
	if len(b) == 0 {
		return cut
	}
	n := int(b[0])
	head := 1
	switch {
	case n == 255:
		head = 3
	case n >= 128:
		head = 2
	}
	if len(b) < head {
		return cut
	}
	switch head {
	case 2:
		n = (n-128)<<8 | int(b[1])
	case 3:
		n = int(b[1]) + int(b[2])<<8 + 0x7f00
	}
	b = b[head:]
	limit := r.history.pos + r.history.maxBlock()
	if n == 0 {
		if len(b) > 0 {
			return fault("block goes on after its last sequence")
		}
		return r.lastLiterals(limit)
	}
	if len(b) == 0 {
		return cut
	}
	modes := b[0]
	if modes&3 != 0 {
		return fault("reserved bits set in sequences")
	}
	b = b[1:]
	for k := range sequenceKinds {
		used, err := r.sequenceTable(k, int(modes>>(6-2*k)&3), b)
		if err != nil {
			return err
		}
		b = b[used:]
	}
	bits, err := newBackBits(b)
	if err != nil {
		return err
	}
	return r.run(bits, n, limit)
}

// sequenceTable reads one of the three tables and says how many bytes its
// description has.
func (r *Reader) sequenceTable(k, mode int, b []byte) (int, error) {
	if mode == repeatedTable {
		if len(r.described[k]) == 0 {
			return 0, fault("sequences refer to a table that was never given")
		}
		r.points.repeated(k, r.described[k])
		return 0, nil
	}
	used := 0
	kind := sequenceKinds[k]
	switch mode {
	case predefinedTable:
		r.tables[k].copyOf(&kind.predefined)
	case rleTable:
		if len(b) == 0 {
			return 0, fault("sequences are cut off")
		}
		if int(b[0]) >= len(kind.meanings) {
			return 0, fault("sequences have a code without a meaning")
		}
		used = 1
		r.tables[k].single(kind.meanings[b[0]])
	case fseCoded:
		var err error
		if used, err = r.counts.read(b, kind.maxLog, len(kind.meanings)-1); err != nil {
			return 0, err
		}
		r.tables[k].build(&r.counts, kind.meanings)
	}
	r.points.replaced(k)
	r.described[k] = append(append(r.described[k][:0], byte(mode)), b[:used]...)
	return used, nil
}

// sequenceReader decodes sequences.
type sequenceReader struct {
	bits   backBits
	tables *[3]fseTable
	states [3]uint32
}

// run decodes and executes n ≥ 1 sequences.
func (r *Reader) run(bits backBits, n, limit int) error {
	s := sequenceReader{bits: bits, tables: &r.tables}
	for k := range s.tables {
		s.states[k] = s.bits.take(s.tables[k].log)
	}
	for n > 0 {
		batch := r.batch[:min(n, batchSize)]
		n -= len(batch)
		s.read(batch, n == 0, r.plain)
		if s.bits.left < 0 {
			return fault("sequences are cut off")
		}
		if err := r.execute(batch, limit); err != nil {
			return err
		}
	}
	if s.bits.left > 0 {
		return fault("block goes on after its last sequence")
	}
	return r.lastLiterals(limit)
}

// read fills batch. After the block's last sequence there are no further states.
func (s *sequenceReader) read(batch []sequence, last, plain bool) {
	for n := 0; n < len(batch); {
		if !plain {
			n += s.fastRead(batch[n:])
		}
		if n < len(batch) {
			batch[n] = s.plainNext(last && n == len(batch)-1)
			n++
		}
	}
}

// plainNext decodes a sequence.
func (s *sequenceReader) plainNext(last bool) sequence {
	lit, dist, match := s.entry(litLenTable), s.entry(distTable), s.entry(matchTable)
	var q sequence
	q.value = dist.meant(&s.bits)
	q.match = match.meant(&s.bits)
	q.lits = lit.meant(&s.bits)
	if !last {
		s.states[litLenTable] = lit.nextState(&s.bits)
		s.states[matchTable] = match.nextState(&s.bits)
		s.states[distTable] = dist.nextState(&s.bits)
	}
	return q
}

// entry is that of a table's current state.
func (s *sequenceReader) entry(k int) entry { return s.tables[k].entries[s.states[k]] }

// repeatedDist gives the distance that v means (RFC 8878 §3.1.1.5): 1 to 3 are the
// last ones, shifted by one if there are no literals.
func repeatedDist(reps *[3]uint32, v, lits uint32) uint32 {
	if v > 3 {
		reps[2], reps[1], reps[0] = reps[1], reps[0], v-3
		return reps[0]
	}
	if lits == 0 {
		v++
	}
	switch v {
	case 1:
		return reps[0]
	case 2:
		reps[1], reps[0] = reps[0], reps[1]
		return reps[0]
	case 3:
		reps[2], reps[1], reps[0] = reps[1], reps[0], reps[2]
		return reps[0]
	}
	reps[2], reps[1], reps[0] = reps[1], reps[0], reps[0]-1
	return reps[0]
}

// execute copies what the sequences of a batch say. limit is where in the ring the
// largest block would end.
func (r *Reader) execute(batch []sequence, limit int) error {
	for len(batch) > 0 {
		if !r.plain {
			n, dist, isFar := r.fastExecute(batch, limit)
			batch = batch[n:]
			if isFar {
				if err := r.farMatch(dist, int(batch[0].match)); err != nil {
					return err
				}
				batch = batch[1:]
				continue
			}
		}
		if len(batch) > 0 {
			if err := r.plainExecute(batch[0], limit); err != nil {
				return err
			}
			batch = batch[1:]
		}
	}
	return nil
}

// plainExecute executes one sequence.
func (r *Reader) plainExecute(q sequence, limit int) error {
	h := &r.history
	lits, match := int(q.lits), int(q.match)
	if lits > len(r.lits)-r.litPos {
		return fault("block has too few literals")
	}
	if lits+match > limit-h.pos {
		return fault("block gives too much")
	}
	copy(h.ring[h.pos:], r.lits[r.litPos:r.litPos+lits])
	h.pos += lits
	r.litPos += lits
	return r.farMatch(int(repeatedDist(&r.reps, q.value, q.lits)), match)
}

// lastLiterals copies what sequences have left over.
func (r *Reader) lastLiterals(limit int) error {
	h := &r.history
	rest := r.lits[r.litPos:]
	if len(rest) > limit-h.pos {
		return fault("block gives too much")
	}
	h.pos += copy(h.ring[h.pos:], rest)
	return nil
}

const errBeforeFrame = fault("match lies before the frame's start")

// farMatch executes any match.
func (r *Reader) farMatch(dist, n int) error {
	h := &r.history
	from := h.out() - int64(dist)
	switch {
	case dist > h.window:
		return fault("match lies before the window")
	case dist == 0 || from < h.start:
		return errBeforeFrame
	case !r.points.refer(from, n):
		return fault("match lies in a part of the window that the point does not have")
	}
	h.copyMatch(dist, n)
	return nil
}
