package fs

import (
	"context"
	"slices"
	"sync"
	"time"

	"mica/overlay"
)

// maxWorkers bounds the reads that decode or wait at the same time, and with
// them the memory of their replies: 16 MiB at the worst. It is more than there
// are processors because a read may also wait for a disk or a registry.
const maxWorkers = 16

// maxUnready bounds those that make what is not ready yet (see [lazyView]), which
// takes a processor for seconds: so reads never wait for one of them.
const maxUnready = 2

// workers runs reads that may take long, beside the loop. A goroutine exists
// only while there is work.
type workers struct {
	run  func(*job)
	most int // at the same time
	wg   sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	queue   []*job // first come, first served; as long as there are threads that wait
	active  []*job
}

// A job is one request: a READ, a change that lasts, or a question about what
// is not ready.
type job struct {
	unique uint64
	req    []byte // a copy of what is in the loop's buffer
	opcode uint32
	node   uint64 // of a READ
	size   int    // of the data asked for
	start  time.Time
	next   *stream // a READ's, if there is something to be pushed before the reply

	ctx    context.Context // of what has to be made ready first; nil if nothing has
	cancel func()
	// release ends that what is asked about is kept ready; nil if nothing has to be.
	release func()
}

// giveUp ends what is made ready for the job.
func (j *job) giveUp() { j.cancel() }

func newWorkers(most int, run func(*job)) *workers { return &workers{run: run, most: most} }

// add has a request answered, now or when others are done.
func (w *workers) add(j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.active) >= w.most {
		w.queue = append(w.queue, j)
		return
	}
	w.active = append(w.active, j)
	w.wg.Go(func() { w.work(j) })
}

// work runs j and then whatever waits.
func (w *workers) work(j *job) {
	for j != nil {
		w.run(j)
		j = w.next(j)
	}
}

func (w *workers) next(done *job) *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.active, done)
	if len(w.queue) == 0 || w.stopped {
		w.active = slices.Delete(w.active, i, i+1)
		return nil
	}
	j := w.queue[0]
	w.queue = slices.Delete(w.queue, 0, 1)
	w.active[i] = j
	return j
}

// withdraw takes a request that still waits out of the queue. It reports
// whether there was one: then the caller owes the reply.
func (w *workers) withdraw(unique uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.queue, func(j *job) bool { return j.unique == unique })
	if i < 0 {
		return false
	}
	if j := w.queue[i]; j.release != nil {
		j.release()
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

// giveUp ends what is made ready for a request, if it is in work.
func (w *workers) giveUp(unique uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.active {
		if j.unique == unique {
			j.giveUp()
		}
	}
}

// waiting is how many are in work or wait for it.
func (w *workers) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.active) + len(w.queue)
}

// reading reports whether a READ of a node is in work or waits for it.
func (w *workers) reading(id overlay.NodeID) bool {
	of := func(j *job) bool { return j.opcode == opRead && j.node == uint64(id) }
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.active, of) || slices.ContainsFunc(w.queue, of)
}

// finish waits until all that was added is done. No add may come after it.
func (w *workers) finish() { w.wg.Wait() }

// stop drops what waits, calls interrupt for each job in work and waits until
// all have ended. No add may come after it.
func (w *workers) stop(interrupt func(*job)) {
	w.mu.Lock()
	w.stopped = true
	w.queue = nil
	active := slices.Clone(w.active)
	w.mu.Unlock()
	for _, j := range active {
		interrupt(j)
	}
	w.wg.Wait()
}
