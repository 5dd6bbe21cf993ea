package layerstore

import (
	"context"
	"errors"
	"os"
)

// Admit checks a blob that is about to enter the store of images: all its bytes
// are read, once, from front to back as they arrive, and held against
// spec.Digest. Where the blob is a layer it is indexed in the same pass.
func (s *Store) Admit(ctx context.Context, spec Spec, layer bool) error {
	if !layer {
		return s.checkDigest(ctx, spec)
	}
	if !spec.table().none() {
		// Its own table of contents is at the end, and proves no digest.
		if err := s.checkDigest(ctx, spec); err != nil {
			return err
		}
		spec.Progress = nil
		return s.EnsureIndex(ctx, spec)
	}
	read := false
	valid := func() error {
		ix, err := s.OpenIndex(spec)
		if err != nil {
			return err
		}
		return ix.Close()
	}
	err := s.Make(ctx, s.IndexPath(spec.Key()), valid, func(f *os.File) error {
		read = true
		return s.writeIndex(ctx, spec, f)
	})
	if err != nil || read {
		return err
	}
	// The index is of another copy of the blob.
	return s.checkDigest(ctx, spec)
}

func (s *Store) checkDigest(ctx context.Context, spec Spec) error {
	got, err := digestOf(ctx, spec, spec.Digest)
	if err != nil {
		return err
	}
	return check(Spec{Digest: spec.Digest}, got, "")
}

// Admitted notes that a blob that [Store.Admit] has read lies where spec says,
// so that it is not read again before it is used.
func (s *Store) Admitted(ctx context.Context, spec Spec) error {
	return s.proven(ctx, spec.Key(), Place(spec.Blob))
}

// DigestOf reads all of a blob and gives its sha256.
func DigestOf(ctx context.Context, spec Spec) (string, error) { return digestOf(ctx, spec, "") }

// Forget drops what the store has made of a blob. It is made again when wanted.
func (s *Store) Forget(spec Spec) error {
	var errs []error
	for _, path := range []string{s.IndexPath(spec.Key()), s.proofPath(spec.Key(), Place(spec.Blob))} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
