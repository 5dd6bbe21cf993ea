package overlay

import (
	"context"
	"errors"

	"mica/layerstore"
	"mica/layerstore/toc"
)

// indexes are those of an image's layers, bottom first.
type indexes []*toc.Index

// openIndexes opens the index of each layer, made first where it is missing: a
// tree can be there without them.
func openIndexes(ctx context.Context, store *layerstore.Store, layers []Layer) (indexes, error) {
	if err := indexAll(ctx, store, layers); err != nil {
		return nil, err
	}
	all := make(indexes, 0, len(layers))
	for i, l := range layers {
		ix, err := store.OpenIndex(l.Spec)
		if err != nil {
			return nil, errors.Join(&LayerError{i, err}, all.close())
		}
		all = append(all, ix)
	}
	return all, nil
}

func (all indexes) sources() []LayerSource {
	sources := make([]LayerSource, len(all))
	for i, ix := range all {
		sources[i] = ix
	}
	return sources
}

func (all indexes) close() error {
	var errs []error
	for _, ix := range all {
		errs = append(errs, ix.Close())
	}
	return errors.Join(errs...)
}
