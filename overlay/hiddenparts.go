package overlay

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"mica/layerstore"
	"mica/layerstore/scratch"
)

// A partKey says which view of the layers is meant.
type partKey struct {
	alone bool
	n     int // from 1, the bottom
}

func (k partKey) base() NodeID {
	p := NodeID(2 * k.n)
	if !k.alone {
		p++
	}
	return p << partShift
}

// partOf is the part that a node number is of, for those from 2 on.
func partOf(id NodeID) partKey {
	p := id >> partShift
	return partKey{alone: p%2 == 0, n: int(p / 2)}
}

// How many views of layers stay made that nobody looks at just now: the ones
// looked at last, this many whatever they take, and more as long as all of them
// take no more than that many bytes of disk. Any reader of a mount may ask for as
// many as there are layers.
const (
	keptParts     = 4
	keptPartBytes = 64 << 20
)

// hiddenParts are the views of layers that are made or being made.
type hiddenParts struct {
	mu    sync.Mutex
	m     map[partKey]*part
	clock uint64
	size  int64 // of those that are made, in bytes
	room  int64 // keptPartBytes

	ctx  context.Context // ends with the Hidden
	stop func()
	wg   sync.WaitGroup // of those that make one
}

// A part is one of them. All of it is guarded by hiddenParts.mu.
type part struct {
	view  *View // nil while it is made
	inUse int   // by as many calls
	last  uint64

	made    chan struct{} // closed when it is, or could not be
	waiting int           // for that
	cancel  func()
	err     error
}

func newHiddenParts() *hiddenParts {
	p := &hiddenParts{m: map[partKey]*part{}, room: keptPartBytes}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// hold gives a view that is made, for as long as release is not called; nil is
// none.
func (p *hiddenParts) hold(key partKey) (v *View, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	made := p.m[key]
	if made == nil || made.view == nil {
		return nil, nil
	}
	p.clock++
	made.last = p.clock
	made.inUse++
	return made.view, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		made.inUse--
	}
}

// join waits until a view is made, and has it made if nobody does. That ends
// when nobody waits for it any more. What failed is tried again by who comes next.
func (p *hiddenParts) join(ctx context.Context, key partKey, merge func(context.Context) (*View, error)) error {
	p.mu.Lock()
	one := p.m[key]
	if one == nil {
		one = p.start(key, merge)
	}
	if one.view != nil {
		p.mu.Unlock()
		return nil
	}
	one.waiting++
	p.mu.Unlock()
	select {
	case <-one.made:
		return one.err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		if one.waiting--; one.waiting == 0 && one.view == nil {
			one.cancel()
			if p.m[key] == one {
				delete(p.m, key) // who comes next shall not get this one's error
			}
		}
		return ctx.Err()
	}
}

func (p *hiddenParts) start(key partKey, merge func(context.Context) (*View, error)) *part {
	one := &part{made: make(chan struct{})}
	var ctx context.Context
	ctx, one.cancel = context.WithCancel(p.ctx)
	p.m[key] = one
	p.wg.Go(func() {
		defer one.cancel()
		view, err := caught(ctx, merge)
		p.mu.Lock()
		defer p.mu.Unlock()
		defer close(one.made)
		if one.err = err; err != nil {
			if p.m[key] == one {
				delete(p.m, key)
			}
			return
		}
		if p.m[key] != one { // given up at the last moment
			one.err = errors.Join(context.Canceled, view.Tree.Close())
			return
		}
		p.clock++
		one.view, one.last = view, p.clock
		p.size += view.Tree.size()
		p.shed(one)
	})
	return one
}

// caught is merge, for which a panic is an error.
func caught(ctx context.Context, merge func(context.Context) (*View, error)) (v *View, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("internal error (bug): %v\n%s", reason, debug.Stack())
		}
	}()
	return merge(ctx)
}

// shed lets go of views that nobody uses, until no more are left than may be.
func (p *hiddenParts) shed(but *part) {
	for {
		var oldest partKey
		n := 0
		for key, one := range p.m {
			if one.view == nil {
				continue
			}
			n++
			if one != but && one.inUse == 0 && (p.m[oldest] == nil || one.last < p.m[oldest].last) {
				oldest = key
			}
		}
		gone := p.m[oldest]
		if n <= keptParts || p.size <= p.room || gone == nil {
			return
		}
		delete(p.m, oldest)
		p.size -= gone.view.Tree.size()
		_ = gone.view.Tree.Close() // fails for nothing but what is no mapping
	}
}

// close ends what is being made and lets go of what is made.
func (p *hiddenParts) close() error {
	p.stop()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, one := range p.m {
		if one.view != nil {
			errs = append(errs, one.view.Tree.Close())
		}
	}
	return errors.Join(errs...)
}

// Hold keeps what is asked about a node at hand until release is called. It is
// false where a view of layers has to be merged first, which takes as long as a
// first mount of them, without the reading.
func (h *Hidden) Hold(id NodeID) (release func(), ready bool) {
	key, ok := h.partOf(id)
	if !ok {
		return inUseForEver, true
	}
	v, release := h.parts.hold(key)
	return release, v != nil
}

// Prepare is Hold that has the view made if it is not there. It gives up when ctx
// ends, and what it began ends unless others wait for it.
func (h *Hidden) Prepare(ctx context.Context, id NodeID) (release func(), err error) {
	for {
		release, ready := h.Hold(id)
		if ready {
			return release, nil
		}
		if err := h.prepare(ctx, id); err != nil {
			return nil, err
		}
	}
}

func (h *Hidden) prepare(ctx context.Context, id NodeID) error {
	key := partOf(id)
	return h.parts.join(ctx, key, func(ctx context.Context) (*View, error) { return h.make(ctx, key) })
}

// partOf says which part a node is of, if it is of one.
func (h *Hidden) partOf(id NodeID) (partKey, bool) {
	if id>>partShift < 2 || id&snapshotBit != 0 {
		return partKey{}, false
	}
	key := partOf(id)
	return key, key.n <= len(h.specs)
}

// part gives a view of some of the layers, for as long as release is not called.
func (h *Hidden) part(id NodeID) (v *View, release func(), err error) {
	key, ok := h.partOf(id)
	if !ok {
		return nil, nil, iofs.ErrNotExist
	}
	for {
		if v, release := h.parts.hold(key); v != nil {
			return v, release, nil
		}
		if err := h.prepare(h.parts.ctx, id); err != nil {
			return nil, nil, err
		}
	}
}

func (h *Hidden) make(ctx context.Context, key partKey) (*View, error) {
	if err := h.Verified(ctx); err != nil {
		return nil, err
	}
	tree, err := scratchTree(ctx, h.store, h.specs[:key.n], key.alone)
	if err != nil {
		return nil, err
	}
	return &View{Tree: tree, layers: h.View.layers[:key.n]}, nil
}

// scratchTree is ensureTree of a tree that leaves nothing in the store: it is in a
// file without a name, unless the store has it.
func scratchTree(ctx context.Context, store *layerstore.Store, layers []Layer, alone bool) (*Tree, error) {
	key := chainKey(layers, alone)
	path := store.TreePath(key)
	if tree, err := openTreeFor(path, key, layers, true); err == nil {
		return tree, nil
	}
	f, err := scratch.Somewhere(filepath.Dir(path), func(*os.File) error { return nil })
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := writeTreeOf(ctx, store, key, layers, alone, f); err != nil {
		return nil, err
	}
	return readTree(f, key, true)
}
