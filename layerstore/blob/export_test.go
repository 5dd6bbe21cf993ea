package blob

// WholeSpans has all spans cached whole, the slow twin of pieces, or not.
func WholeSpans(whole bool) { wholeSpans = whole }

// Idle is how long decoders wait to be used again.
const Idle = idle

// Decoders says how many decoders the runs of a cache have.
func (c *Cache) Decoders() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.runs {
		if g.active || g.dec != nil {
			n++
		}
	}
	return n
}
