package blob

import (
	"container/list"
	"context"
	"sync"
)

// A Cache keeps decoded spans of any number of Readers, the last used ones,
// bounded in bytes. Its methods may be called concurrently.
type Cache struct {
	max int64 // bytes

	mu    sync.Mutex
	used  int64
	spans map[spanKey]*list.Element // of *span
	order *list.List                // the last used in front
}

type spanKey struct {
	reader *Reader
	number int
}

// NewCache gives a cache that holds at most size bytes, or one span where
// that is more.
func NewCache(size int64) *Cache {
	return &Cache{max: size, spans: map[spanKey]*list.Element{}, order: list.New()}
}

// Used is how many bytes the cache holds.
func (c *Cache) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// get gives the span of a key. If it is not there, fill is called, once for
// any number of callers, to begin to fill it; it does not wait for that.
func (c *Cache) get(key spanKey, size int64, fill func(*span)) *span {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.spans[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*span)
	}
	s := &span{key: key, buf: make([]byte, size), more: make(chan struct{})}
	c.spans[key] = c.order.PushFront(s)
	c.used += size
	for c.used > c.max && c.order.Len() > 1 {
		c.removeLocked(c.order.Back())
	}
	fill(s)
	return s
}

// peek gives the span of a key if it is there.
func (c *Cache) peek(key spanKey) *span {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.spans[key]; ok {
		return e.Value.(*span)
	}
	return nil
}

// drop forgets a span that could not be filled, so that the next read tries
// again.
func (c *Cache) drop(s *span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.spans[s.key]; ok && e.Value == s {
		c.removeLocked(e)
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
}

func (c *Cache) removeLocked(e *list.Element) {
	s := c.order.Remove(e).(*span)
	delete(c.spans, s.key)
	c.used -= int64(len(s.buf))
}

// A span is a buffer that fills from its front. What is ready does not change
// any more, so that it is read without a lock; one that has been evicted goes
// on for those who hold it.
type span struct {
	key spanKey
	buf []byte

	mu    sync.Mutex
	ready int           // bytes of buf that have been decoded and verified
	err   error         // why no more will come
	more  chan struct{} // closed when ready or err changes, and then another
}

// advance tells those who wait that n bytes are ready, or what went wrong.
func (s *span) advance(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.err = n, err
	close(s.more)
	s.more = make(chan struct{})
}

// wait returns when the first n bytes are ready.
func (s *span) wait(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		ready, err, more := s.ready, s.err, s.more
		s.mu.Unlock()
		if ready >= n {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *span) has(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready >= n
}
