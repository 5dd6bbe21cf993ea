package layerstore

import (
	"context"

	"mica/layerstore/blob"
)

// expandCache is how many bytes an archive that is compressed as a whole may
// keep decoded, besides what its layers keep.
const expandCache = 16 << 20

// Expand gives random access to the uncompressed bytes of an archive that is
// compressed as a whole, say a docker save through gzip. Its index is made
// like that of a layer, and those of the uncompressed layers in it in the same
// pass; progress is that of Spec.
func (s *Store) Expand(ctx context.Context, src blob.Source, progress func(n int64)) (blob.Source, error) {
	spec := Spec{Blob: src, Progress: progress, archive: true}
	if err := s.EnsureIndex(ctx, spec); err != nil {
		return nil, err
	}
	layer := s.Layer(spec, blob.NewCache(expandCache))
	ix, err := layer.Index(ctx)
	if err != nil {
		return nil, err
	}
	return &expanded{layer, ix.Info().LayerSize}, nil
}

// expanded is the Source of what a compressed archive holds.
type expanded struct {
	layer *Layer
	size  int64
}

func (e *expanded) Size() int64 { return e.size }

// ID is that of the bytes as stored, marked as what comes out of them.
func (e *expanded) ID() string { return "expanded:" + e.layer.spec.Blob.ID() }

// Place is that of the bytes as stored, marked likewise.
func (e *expanded) Place() string { return expandedPlace(e.layer.spec.Blob) }

func expandedPlace(src blob.Source) string { return "expanded:" + Place(src) }

func (e *expanded) ReadAt(p []byte, off int64) (int, error) {
	return e.layer.ReadAt(context.Background(), p, off)
}

// Close lets go of what reading has opened.
func (e *expanded) Close() error { return e.layer.Close() }
