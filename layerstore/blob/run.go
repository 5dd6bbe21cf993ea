package blob

import (
	"cmp"
	"io"
	"os"
	"slices"
	"time"

	"mica/layerstore/toc"
	"mica/layerstore/unzstd"
)

// pieceLen is what a long span is cached by, in bytes: a multiple of
// toc.BlockLen. A cache of whole zstd spans of 16 MiB holds three, which more
// readers than that evict from each other.
const pieceLen = 1 << 20

// keptBefore is how many pieces before a wanted one are kept in any case: of
// requests in flight a later one may come first.
const keptBefore = 2

// maxParked is how many bytes the windows of those decoders of a cache have that
// wait to go on where they stopped: enough for 2 of the usual size, 8 MiB. The runs
// of more readers than that are rarely all idle at once.
const maxParked = 20 << 20

// A run decodes the pieces of one span that are wanted, by one decoder from
// front to back, and keeps it to go on from. The lock of the cache guards
// wanted, active and lastUse; the rest is of the goroutine while it is active.
type run struct {
	wanted     []*span
	active     bool
	sequential bool   // read so, once at least: only then is it worth to be parked
	lastUse    uint64 // of Cache.clock

	dec  *unzstd.Reader // nil: the next piece needs another start
	next int            // the piece that dec gives next
}

// letGo gives up the run's decoder, if it has one.
func (g *run) letGo() {
	if g.dec != nil {
		unzstders.put(g.dec)
		g.dec = nil
	}
}

// wantLocked has a piece filled by its span's run.
func (r *Reader) wantLocked(ix *toc.Index, sp toc.Span, s *span) {
	c, key := r.cache, spanKey{reader: r, number: s.key.number}
	g := c.runs[key]
	if g == nil {
		g = &run{}
		c.runs[key] = g
	}
	g.wanted = append(g.wanted, s)
	if !g.active {
		g.active = true
		r.fills.Go(func() { r.work(ix, sp, g, key) })
	}
}

// work fills pieces until none is wanted.
func (r *Reader) work(ix *toc.Index, sp toc.Span, g *run, key spanKey) {
	for {
		target, s := r.cache.step(g, key, sp)
		if target == nil {
			return
		}
		r.cache.decoding <- struct{}{}
		n, err := r.piece(ix, sp, g, s)
		<-r.cache.decoding
		r.cache.count.decoded.Add(uint64(n))
		if err != nil {
			err = r.fail(sp.Out+int64(g.next)*pieceLen+int64(n), err)
			g.letGo()
		} else if g.next++; pieceSize(sp, g.next) <= 0 {
			g.letGo()
		}
		// What is skipped on the way to a piece keeps that piece from its reader, too.
		if err != nil && s != target {
			r.cache.unwant(g, target)
			r.cache.finish(target, 0, err)
		}
		if s != nil {
			r.cache.finish(s, n, err)
		}
	}
}

// piece decodes the run's next piece into s, or leaves it out where that is nil.
func (r *Reader) piece(ix *toc.Index, sp toc.Span, g *run, s *span) (n int, err error) {
	if g.dec == nil {
		g.dec = unzstders.get()
		r.cache.count.spans.Add(1)
		if err := g.dec.Resume(r.src, ix.ZstdPoint(sp), sp.InEnd); err != nil {
			return 0, err
		}
	}
	if r.closed.Load() {
		return 0, os.ErrClosed
	}
	if s == nil {
		_, err := io.CopyN(io.Discard, g.dec, pieceLen)
		return 0, noEOF(err)
	}
	return r.checked(ix, sp, g.next*(pieceLen/toc.BlockLen), g.dec, s)
}

// step says which piece the run works for, and into what its decoder decodes
// next: that piece, one that is on the way and has room in the cache, or nil. If
// nothing is wanted the run is parked, and there is no target.
func (c *Cache) step(g *run, key spanKey, sp toc.Span) (target, into *span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	g.lastUse = c.clock
	if len(g.wanted) == 0 {
		g.active = false
		c.parkLocked()
		return nil, nil
	}
	var first *span
	for _, s := range g.wanted {
		if first == nil || s.key.piece < first.key.piece {
			first = s
		}
		if s.key.piece >= g.next && (target == nil || s.key.piece < target.key.piece) {
			target = s
		}
	}
	if g.dec == nil || target == nil {
		g.letGo()
		g.next, target = 0, first
	}
	if target.key.piece == g.next {
		g.wanted = slices.DeleteFunc(g.wanted, func(s *span) bool { return s == target })
		return target, target
	}
	key.piece = g.next
	return target, c.spareLocked(key, pieceSize(sp, g.next), g.next+keptBefore >= target.key.piece)
}

// spareLocked gives a span for a piece that nobody has asked for, if it is not
// there and nothing has to go for it, or it is near. It is the first to go.
func (c *Cache) spareLocked(key spanKey, size int, near bool) *span {
	if _, ok := c.spans[key]; ok {
		return nil
	}
	if near {
		c.makeRoomLocked(int64(size))
	}
	if c.used+int64(size) > c.max {
		return nil
	}
	buf, err := c.free.get(size)
	if err != nil {
		return nil
	}
	s := &span{key: key, buf: buf, users: 1, cached: true, more: make(chan struct{})}
	c.spans[key] = c.order.PushBack(s)
	c.used += int64(size)
	return s
}

// unwant takes a piece from those that a run is to fill.
func (c *Cache) unwant(g *run, target *span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.wanted = slices.DeleteFunc(g.wanted, func(s *span) bool { return s == target })
}

// finish says how the filling of a span has ended, for its filler.
func (c *Cache) finish(s *span, n int, err error) {
	if err != nil {
		c.drop(s)
	}
	s.advance(n, err)
	c.release(s)
}

// parkLocked keeps of the decoders that are not at work those that were used
// last, and forgets runs without one.
func (c *Cache) parkLocked() {
	var parked []spanKey
	for key, g := range c.runs {
		switch {
		case g.active:
		case g.dec == nil || !g.sequential:
			g.letGo()
			delete(c.runs, key)
		default:
			parked = append(parked, key)
		}
	}
	slices.SortFunc(parked, func(a, b spanKey) int { return cmp.Compare(c.runs[b].lastUse, c.runs[a].lastUse) })
	left := maxParked
	for _, key := range parked {
		if left -= c.runs[key].dec.WindowSize(); left < 0 {
			c.runs[key].letGo()
			delete(c.runs, key)
		}
	}
	switch {
	case len(parked) == 0:
	case c.idle == nil:
		c.idle = time.AfterFunc(idle, c.unpark)
	default:
		c.idle.Reset(idle)
	}
}

// unpark lets go of all decoders that are not at work.
func (c *Cache) unpark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, g := range c.runs {
		if !g.active {
			g.letGo()
			delete(c.runs, key)
		}
	}
}

// pieceSize is how many bytes a piece of a span has; not above 0 if there is
// none of that number.
func pieceSize(sp toc.Span, piece int) int {
	return int(min(pieceLen, sp.Len()-int64(piece)*pieceLen))
}
