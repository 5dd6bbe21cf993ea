package blob

import (
	"context"
	"sync"
)

// A span is a buffer that fills from its front. What is ready does not change
// any more, so that it is read without a lock; one that has been evicted goes
// on for those who hold it.
type span struct {
	key spanKey
	buf []byte // nil once nobody uses it

	// The cache's, and guarded by its lock.
	users  int
	cached bool

	mu    sync.Mutex
	ready int           // bytes of buf that have been decoded and verified
	err   error         // why no more will come
	bad   []badPart     // of what is ready
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

// A badPart is one of several parts of a span that are decoded each by itself,
// and could not be.
type badPart struct {
	from, to int
	err      error
}

// spoil says that the bytes from the one to the other, which are ready next,
// could not be had.
func (s *span) spoil(from, to int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, badPart{from, to, err})
}

// wait returns when the bytes from the one to the other, and all before, are
// ready.
func (s *span) wait(ctx context.Context, from, to int) error {
	for {
		s.mu.Lock()
		ready, err, more, bad := s.ready, s.err, s.more, s.bad
		s.mu.Unlock()
		if ready >= to {
			for _, p := range bad {
				if p.from < to && p.to > from {
					return p.err
				}
			}
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
