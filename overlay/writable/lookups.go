package writable

import "mica/overlay"

// lookups counts how often the kernel was told of nodes that only the lower
// has, so that the count is right when one is copied up. It takes a byte a node,
// and a little more where numbers are far apart.
type lookups struct {
	pages map[overlay.NodeID]*countPage
	// more is what does not go into a byte.
	more map[overlay.NodeID]uint64
}

const countsInPage = 1 << 10

type countPage struct {
	counts [countsInPage]uint8
	used   int // counts that are not 0
}

func (l *lookups) add(id overlay.NodeID) {
	p := l.pages[id/countsInPage]
	if p == nil {
		if l.pages == nil {
			l.pages = map[overlay.NodeID]*countPage{}
		}
		p = &countPage{}
		l.pages[id/countsInPage] = p
	}
	c := &p.counts[id%countsInPage]
	switch {
	case *c == 0:
		p.used++
		*c = 1
	case *c < 0xff:
		*c++
	default:
		if l.more == nil {
			l.more = map[overlay.NodeID]uint64{}
		}
		l.more[id]++
	}
}

// take gives the count of a node, of which there is none afterwards.
func (l *lookups) take(id overlay.NodeID) uint64 {
	p := l.pages[id/countsInPage]
	if p == nil || p.counts[id%countsInPage] == 0 {
		return 0
	}
	n := uint64(p.counts[id%countsInPage]) + l.more[id]
	delete(l.more, id)
	p.counts[id%countsInPage] = 0
	if p.used--; p.used == 0 {
		delete(l.pages, id/countsInPage)
	}
	return n
}

// sub takes n off the count of a node, and reports whether none is left.
func (l *lookups) sub(id overlay.NodeID, n uint64) bool {
	left := l.take(id)
	left -= min(left, n)
	for range left {
		l.add(id)
	}
	return left == 0
}
