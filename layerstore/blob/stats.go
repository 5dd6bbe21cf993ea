package blob

import "sync/atomic"

// Stats is what a cache and its readers have done since it was made, and what
// it holds.
type Stats struct {
	Hits    uint64 `json:"hits"`    // spans that were asked for and there, whole or in part
	Misses  uint64 `json:"misses"`  // spans that were not
	Spans   uint64 `json:"spans"`   // spans that were decoded, or begun to be
	Decoded uint64 `json:"decoded"` // bytes that came of it
	Stored  uint64 `json:"stored"`  // bytes of blobs, as they are stored, that were read for it
	Used    int64  `json:"used"`    // bytes that the cache holds
	Max     int64  `json:"max"`     // bytes that it may hold
}

// counters are those of Stats that only grow.
type counters struct {
	hits, misses, spans, decoded, stored atomic.Uint64
}

// A countedSource adds up what is read of a Source.
type countedSource struct {
	Source
	read *atomic.Uint64
}

func (s countedSource) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.Source.ReadAt(p, off)
	s.read.Add(uint64(n))
	return n, err
}

// Stats may be called at any time.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits: c.count.hits.Load(), Misses: c.count.misses.Load(),
		Spans: c.count.spans.Load(), Decoded: c.count.decoded.Load(), Stored: c.count.stored.Load(),
		Used: c.Used(), Max: c.max,
	}
}

// CacheStats gives those of the cache that the reader uses.
func (r *Reader) CacheStats() Stats { return r.cache.Stats() }
