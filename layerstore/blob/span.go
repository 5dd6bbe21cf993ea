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
