package overlay

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"
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

// hiddenParts are the views of layers that were looked at.
type hiddenParts struct {
	mu sync.Mutex
	m  map[partKey]*part
}

// A part is one of them.
type part struct {
	making sync.Mutex // held by who makes the view, and by who waits for it
	view   *View      // nil until it is made; guarded by hiddenParts.mu
}

// of gives the view, if it is made, and the part that it is of.
func (p *hiddenParts) of(key partKey) (*View, *part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m[key] == nil {
		p.m[key] = &part{}
	}
	return p.m[key].view, p.m[key]
}

// Ready reports whether what is asked about a node can be answered at once:
// else a view of layers has to be merged first, which takes as long as a first
// mount of them, without the reading.
func (h *Hidden) Ready(id NodeID) bool {
	if id>>partShift < 2 {
		return true
	}
	key := partOf(id)
	if key.n > len(h.specs) {
		return true
	}
	view, _ := h.parts.of(key)
	return view != nil
}

// part gives a view of some of the layers, made at the first call. Whoever comes
// meanwhile and wants the same waits for it; what failed is tried again.
func (h *Hidden) part(key partKey) (*View, error) {
	if key.n < 1 || key.n > len(h.specs) {
		return nil, iofs.ErrNotExist
	}
	v, p := h.parts.of(key)
	if v != nil {
		return v, nil
	}
	p.making.Lock()
	defer p.making.Unlock()
	if v, _ := h.parts.of(key); v != nil {
		return v, nil
	}
	ctx := context.Background()
	if err := h.Verified(ctx); err != nil {
		return nil, err
	}
	tree, err := ensureTree(ctx, h.store, h.specs[:key.n], key.alone)
	if err != nil {
		return nil, err
	}
	v = &View{Tree: tree, layers: h.View.layers[:key.n]}
	h.parts.mu.Lock()
	defer h.parts.mu.Unlock()
	p.view = v
	return v, nil
}

// Close lets go of the views that were made.
func (h *Hidden) Close() error {
	h.parts.mu.Lock()
	defer h.parts.mu.Unlock()
	var errs []error
	for _, p := range h.parts.m {
		if p.view != nil {
			errs = append(errs, p.view.Tree.Close())
		}
	}
	return errors.Join(errs...)
}
