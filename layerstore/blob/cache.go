package blob

import (
	"container/list"
	"sync"
	"time"
)

// A Cache keeps decoded spans of any number of Readers, the last used ones,
// bounded in bytes. Its methods may be called concurrently.
//
// The bytes lie in buffers outside of the Go heap, which are used again: what
// is decoded, gigabytes of it when a tree is read, is no garbage then, and a
// server's memory is what the cache may hold.
type Cache struct {
	max int64 // bytes

	// decoding bounds how many spans are filled at once: more would only share
	// the processors. It is not one for all caches, as the source of a span may
	// be a reader itself, which waits for spans of another cache.
	decoding chan struct{}
	count    counters

	mu    sync.Mutex
	used  int64 // bytes of spans in order
	spans map[spanKey]*list.Element
	order *list.List // of *span, the last used in front
	free  buffers

	runs  map[spanKey]*run // of spans that are cached by pieces
	clock uint64           // counts the steps of runs
	idle  *time.Timer      // unparks runs; nil before there was one
}

// A spanKey names a span, or a piece of one that is cached by pieces.
type spanKey struct {
	reader *Reader
	number int
	piece  int
}

// maxDecoding is how many spans of one cache are filled at once.
const maxDecoding = 4

// NewCache gives a cache that holds at most size bytes, or one span where
// that is more. Besides, spans that are being read are held as long as that
// takes.
func NewCache(size int64) *Cache {
	return &Cache{max: size, decoding: make(chan struct{}, maxDecoding), spans: map[spanKey]*list.Element{}, runs: map[spanKey]*run{}, order: list.New()}
}

// Used is how many bytes the cache holds.
func (c *Cache) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// get gives the span of a key, which the caller releases. If it is not there,
// fill is called, once for any number of callers, to begin to fill it: it does
// not wait for that, and who fills releases too.
func (c *Cache) get(key spanKey, size int, fill func(*span)) (*span, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.spans[key]; ok {
		c.order.MoveToFront(e)
		s := e.Value.(*span)
		s.users++
		c.count.hits.Add(1)
		return s, nil
	}
	c.count.misses.Add(1)
	return c.addLocked(key, size, fill)
}

// addLocked adds a span that is not there, as get does.
func (c *Cache) addLocked(key spanKey, size int, fill func(*span)) (*span, error) {
	c.makeRoomLocked(int64(size))
	buf, err := c.free.get(size)
	if err != nil {
		return nil, err
	}
	s := &span{key: key, buf: buf, users: 2, cached: true, more: make(chan struct{})}
	c.spans[key] = c.order.PushFront(s)
	c.used += int64(size)
	fill(s)
	return s, nil
}

// makeRoomLocked evicts what was used longest ago, first of what nobody is
// looking at: a span that is still being filled would be decoded again for the
// next read of it.
func (c *Cache) makeRoomLocked(size int64) {
	for e := c.order.Back(); e != nil && c.used+size > c.max; {
		s, before := e.Value.(*span), e.Prev()
		if s.users == 0 {
			c.removeLocked(e)
		}
		e = before
	}
	for c.used+size > c.max && c.order.Len() > 0 {
		c.removeLocked(c.order.Back())
	}
}

// peek gives the span of a key if it is there; the caller releases it.
func (c *Cache) peek(key spanKey) *span {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.spans[key]
	if !ok {
		return nil
	}
	s := e.Value.(*span)
	s.users++
	return s
}

// release says that a span got from the cache is no longer looked at.
func (c *Cache) release(s *span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users--
	c.reuseLocked(s)
}

// drop forgets a span that could not be filled, so that the next read tries
// again.
func (c *Cache) drop(s *span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.cached {
		c.removeLocked(c.spans[s.key])
	}
}

// dropAll forgets all spans of a reader.
func (c *Cache) dropAll(r *Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.spans {
		if key.reader == r {
			c.removeLocked(e)
		}
	}
	for key, g := range c.runs {
		if key.reader == r {
			g.letGo()
			delete(c.runs, key)
		}
	}
	if c.order.Len() == 0 {
		c.free.drop()
	}
}

func (c *Cache) removeLocked(e *list.Element) {
	s := c.order.Remove(e).(*span)
	delete(c.spans, s.key)
	c.used -= int64(len(s.buf))
	s.cached = false
	c.reuseLocked(s)
}

// reuseLocked takes back the buffer of a span that nobody can see any more.
func (c *Cache) reuseLocked(s *span) {
	if !s.cached && s.users == 0 && s.buf != nil {
		c.free.put(s.buf)
		s.buf = nil
	}
}
