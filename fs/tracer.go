package fs

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mica/overlay"
)

// tracers tell of files that are read for the first time. While there is none
// that costs a read one load.
type tracers struct {
	now atomic.Pointer[[]*tracer] // nil for none

	mu sync.Mutex // of who changes now
}

// A tracer tells one client. Those who read do not wait for it: what is more
// than its channel holds is not told.
type tracer struct {
	touched chan touch

	mu   sync.Mutex
	seen map[overlay.NodeID]bool
}

type touch struct {
	node overlay.NodeID
	when time.Time
}

// tracerAhead is how many files may be touched before their client has taken
// in the first one.
const tracerAhead = 1 << 16

// touch is called with each file that is read.
func (ts *tracers) touch(id overlay.NodeID) {
	now := ts.now.Load()
	if now == nil {
		return
	}
	for _, t := range *now {
		t.touch(id)
	}
}

func (t *tracer) touch(id overlay.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[id] {
		return
	}
	t.seen[id] = true
	select {
	case t.touched <- touch{id, time.Now()}:
	default:
	}
}

// follow calls tell with each file that is touched until stop is closed or tell
// gives an error.
func (ts *tracers) follow(stop <-chan struct{}, tell func(touch) error) {
	t := &tracer{touched: make(chan touch, tracerAhead), seen: map[overlay.NodeID]bool{}}
	ts.change(func(now []*tracer) []*tracer { return append(now, t) })
	defer ts.change(func(now []*tracer) []*tracer {
		return slices.DeleteFunc(now, func(other *tracer) bool { return other == t })
	})
	for {
		select {
		case <-stop:
			return
		case f := <-t.touched:
			if tell(f) != nil {
				return
			}
		}
	}
}

// change replaces the list, which readers may be looking at, by another.
func (ts *tracers) change(to func([]*tracer) []*tracer) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var now []*tracer
	if old := ts.now.Load(); old != nil {
		now = slices.Clone(*old)
	}
	if now = to(now); len(now) == 0 {
		ts.now.Store(nil)
		return
	}
	ts.now.Store(&now)
}
