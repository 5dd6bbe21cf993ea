package main

import (
	"cmp"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A progress counts what is read while an image is indexed, and shows it if
// that takes a while. A nil one does neither.
type progress struct {
	verbs   verbs
	display display // nil shows nothing
	patient bool    // shows nothing of what is quick

	begin sync.Once // with the first byte
	stop  chan struct{}
	ended chan struct{} // closed when the display has been

	mu     sync.Mutex
	start  time.Time // zero before the first byte
	end    time.Time // zero before done
	layers []*layerProgress
}

// verbs say what is done and what has been: "indexing", "indexed" if nothing
// else.
type verbs struct{ ing, ed string }

func (v verbs) doing() string { return cmp.Or(v.ing, "indexing") }
func (v verbs) done() string  { return cmp.Or(v.ed, "indexed") }

// called names what is shown.
func (p *progress) called(ing, ed string) *progress {
	p.verbs = verbs{ing, ed}
	return p
}

// layerProgress is one layer, or an archive that has to be read to find them.
type layerProgress struct {
	verbs verbs
	name  string // "layer 3/5"
	size  int64  // bytes of the blob
	read  atomic.Int64
	begun atomic.Pointer[time.Time] // when the first byte was read
	done  atomic.Int64              // when all was read, in nanoseconds since the start; 0 is not yet
}

// A display shows progress. Its methods are called by one goroutine.
type display interface {
	// update is called several times a second with the time since the start,
	// and a last time when all is done or has failed.
	update(took time.Duration, layers []*layerProgress)
	close()
}

const (
	// showAfter is how long indexing takes before anything is shown.
	showAfter = 300 * time.Millisecond
	// refresh is how often a display is brought up to date.
	refresh = 100 * time.Millisecond
	// totalEvery is how often a log gets a line about the whole.
	totalEvery = 10 * time.Second
)

// newProgress shows progress on w: "tty" as bars, "plain" as lines, "json" as
// lines of JSON, "none" not at all, "auto" as fits w. A mode that was asked
// for is used from the first byte on, auto only for what takes a while.
func newProgress(w io.Writer, mode string) *progress {
	p := &progress{patient: mode == "auto", stop: make(chan struct{}), ended: make(chan struct{})}
	switch {
	case mode == "tty" || mode == "auto" && canRedraw(w):
		p.display = &bars{w: w}
	case mode == "plain" || mode == "auto":
		p.display = &lines{w: w}
	case mode == "json":
		p.display = &jsonLines{w: w}
	}
	return p
}

// layer adds what is about to be indexed, by a name such as "layer 3/5" and its
// size in bytes, and gives what is to be called with each count of bytes read of it.
func (p *progress) layer(name string, size int64) func(n int64) {
	if p == nil {
		return nil
	}
	l := &layerProgress{verbs: p.verbs, name: name, size: size}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.layers = append(p.layers, l)
	return func(n int64) {
		p.begin.Do(p.run)
		if l.begun.Load() == nil {
			now := time.Now()
			l.begun.Store(&now)
		}
		if l.read.Add(n) == l.size {
			l.done.Store(int64(time.Since(p.start)))
		}
	}
}

func (p *progress) run() {
	p.mu.Lock()
	p.start = time.Now()
	p.mu.Unlock()
	if p.display == nil {
		close(p.ended)
		return
	}
	go func() {
		defer close(p.ended)
		ticker := time.NewTicker(refresh)
		defer ticker.Stop()
		shown := !p.patient
		for {
			select {
			case <-ticker.C:
				if shown = shown || time.Since(p.start) >= showAfter; shown {
					p.update()
				}
			case <-p.stop:
				if shown {
					p.update()
					p.display.close()
				}
				return
			}
		}
	}()
}

func (p *progress) update() {
	p.mu.Lock()
	layers := slices.Clone(p.layers)
	p.mu.Unlock()
	p.display.update(time.Since(p.start), layers)
}

// done ends the display. It may be called more than once, and when nothing was
// read.
func (p *progress) done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	first := p.end.IsZero()
	began := !p.start.IsZero()
	if first {
		p.end = time.Now()
		close(p.stop)
	}
	p.mu.Unlock()
	if began {
		<-p.ended
	}
}

// total gives how many bytes were read, and how long that took up to done.
func (p *progress) total() (n int64, took time.Duration) {
	if p == nil {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.layers {
		n += l.read.Load()
	}
	if p.start.IsZero() {
		return n, 0
	}
	return n, p.end.Sub(p.start)
}
