package layerstore

import (
	"context"
	"os"

	"golang.org/x/sync/errgroup"

	"mica/layerstore/blob"
)

// An index is found by the digest that an image claims for a blob, and was made
// of a blob that had it. Whether the blob at hand is that one is another
// question: someone else's layout may claim the digest for other bytes, and the
// sums of blocks are no defence against one who forges. So the store keeps, for
// each place at which a blob was found to have its digest, an empty file; a
// blob at another place is hashed once before its contents are used.

// Place says where a blob lies, so that other bytes have another place; "" where
// it does not say.
func Place(src blob.Source) string {
	if p, ok := src.(interface{ Place() string }); ok {
		return p.Place()
	}
	return ""
}

func (s *Store) proofPath(key, place string) string {
	return s.cachePath("proof", key+" at "+place)
}

// prove makes sure that the blob is the one that its index was made of.
func (s *Store) prove(ctx context.Context, spec Spec) error {
	place := Place(spec.Blob)
	if place == "" {
		return nil
	}
	path := s.proofPath(spec.Key(), place)
	return s.Make(ctx, path, exists(path), func(*os.File) error {
		ix, err := s.OpenIndex(spec)
		if err != nil {
			return err
		}
		info := ix.Info()
		want := info.Digest
		if err := ix.Close(); err != nil {
			return err
		}
		// Chunks are held against their digests at each read; the key of an
		// archive, which has no digest, says where it is.
		if want == "" || info.Codec.Chunked() {
			return nil
		}
		got, err := digestOf(ctx, spec, want)
		if err != nil {
			return err
		}
		return check(Spec{Digest: want}, got, "")
	})
}

// proven notes that the blob at a place was found to be what its key says.
// Somebody else may be about to prove just that, as with an image that has a
// layer twice.
func (s *Store) proven(ctx context.Context, key, place string) error {
	if place == "" {
		return nil
	}
	path := s.proofPath(key, place)
	return s.Make(ctx, path, exists(path), func(*os.File) error { return nil })
}

func exists(path string) func() error {
	return func() error { _, err := os.Stat(path); return err }
}

// digestOf hashes a blob as stored, by the algorithm of the digest wanted.
func digestOf(ctx context.Context, spec Spec, want string) (string, error) {
	p := pass{spec: spec, src: spec.Blob, progress: func(int64) {}}
	if spec.Progress != nil {
		p.progress = spec.Progress
	}
	stored := newFanout(1)
	g, ctx := errgroup.WithContext(ctx)
	var got string
	g.Go(func() error { return p.read(ctx, stored, nil) })
	g.Go(func() (err error) { got, err = hash(ctx, stored, 0, want); return })
	err := g.Wait()
	return got, err
}
