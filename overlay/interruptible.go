package overlay

import (
	"context"
	"iter"

	"mica/layerstore/toc"
)

// An interruptible layer ends with its context's error when that ends: merging
// millions of entries takes a while.
type interruptible struct {
	ctx context.Context // of the merge that the layer is a part of
	LayerSource
}

func (s interruptible) Markers() iter.Seq2[*toc.Entry, error] {
	return s.watch(s.LayerSource.Markers())
}
func (s interruptible) Entries() iter.Seq2[*toc.Entry, error] {
	return s.watch(s.LayerSource.Entries())
}

func (s interruptible) watch(seq iter.Seq2[*toc.Entry, error]) iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		n := 0
		for e, err := range seq {
			if n++; n%checkEvery == 0 && s.ctx.Err() != nil {
				yield(nil, s.ctx.Err())
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// checkEvery is how many entries are passed on between two looks at the context.
const checkEvery = 1024
