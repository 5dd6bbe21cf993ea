package blob

import "mica/layerstore/toc"

// How many pieces are wanted ahead of who reads in sequence: fewer where there
// are many readers, so that they do not take the cache from each other.
const (
	minAhead = 2
	maxAhead = 8
)

// ahead wants what comes next, in this span and after it, if who reads a piece
// seems to read in sequence: the piece before is there. Spans that are cached
// whole have the kernel read ahead of them, a request of 1 MiB while one is
// answered; to decode more ahead has not helped gzip.
func (r *Reader) ahead(ix *toc.Index, sp toc.Span, key spanKey) {
	c, info := r.cache, ix.Info()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.spans[r.before(ix, key)]; !ok || r.closed.Load() {
		return
	}
	for range c.aheadLocked() {
		if key.piece++; pieceSize(sp, key.piece) <= 0 {
			// The next span starts anew: a while before its bytes are asked for.
			if sp.Out+sp.Len() >= info.End() {
				return
			}
			key.number, key.piece = key.number+1, 0
			sp = ix.Span(key.number)
		}
		if err := r.foreseeLocked(ix, sp, key); err != nil {
			return
		}
	}
}

// before names the piece before one, which is not there if there is none.
func (r *Reader) before(ix *toc.Index, key spanKey) spanKey {
	if key.piece--; key.piece < 0 && key.number > 0 {
		key.number--
		key.piece = int((ix.Span(key.number).Len() - 1) / pieceLen)
	}
	return key
}

// aheadLocked is how many pieces are wanted ahead.
func (c *Cache) aheadLocked() int {
	half := int(c.max / pieceLen / 2)
	return max(minAhead, min(maxAhead, half/max(1, len(c.runs))))
}

// foreseeLocked wants a piece that nobody waits for.
func (r *Reader) foreseeLocked(ix *toc.Index, sp toc.Span, key spanKey) error {
	c := r.cache
	if _, ok := c.spans[key]; !ok {
		s, err := c.addLocked(key, pieceSize(sp, key.piece), func(s *span) { r.wantLocked(ix, sp, s) })
		if err != nil {
			return err
		}
		s.users--
	}
	if g := c.runs[spanKey{reader: r, number: key.number}]; g != nil {
		g.sequential = true
	}
	return nil
}
