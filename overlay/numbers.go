package overlay

// numbers finds the number of what is in a table by its hash: open addressing,
// a number plus one in each slot, 0 where it is free.
type numbers struct {
	spill *spill
	slots []uint32
	used  int
}

// find gives the slot of what same is true of, or a free one, to be filled at
// once. hash gives the hash of what has that number.
func (t *numbers) find(h uint64, hash func(n uint32) uint64, same func(n uint32) bool) *uint32 {
	if (t.used+1)*4 > len(t.slots)*3 {
		old := t.slots
		t.slots = zeroed[uint32](t.spill, max(64, 2*len(old)))
		for _, v := range old {
			if v != 0 {
				*t.slot(hash(v-1), func(uint32) bool { return false }) = v
			}
		}
		freed(t.spill, old)
	}
	slot := t.slot(h, same)
	if *slot == 0 {
		t.used++
	}
	return slot
}

func (t *numbers) slot(h uint64, same func(n uint32) bool) *uint32 {
	mask := uint64(len(t.slots) - 1)
	i := h & mask
	for t.slots[i] != 0 && !same(t.slots[i]-1) {
		i = (i + 1) & mask
	}
	return &t.slots[i]
}
