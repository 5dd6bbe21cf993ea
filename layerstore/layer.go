package layerstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A Spec says which layer is meant and what is promised of it.
type Spec struct {
	Blob   blob.Source
	Digest string // of the blob as stored; "" is not promised
	DiffID string // of the uncompressed layer; "" is not promised
	// Annotations are what the manifest says of the blob besides; some name the
	// digest of a table of contents in it. Nil is nothing.
	Annotations map[string]string
	// Progress, if not nil, is told while the layer is indexed: n more bytes
	// of the blob have been read. It is called from other goroutines.
	Progress func(n int64)

	// archive says that the blob is a compressed archive of an image: what is
	// indexed besides it are the layers in it.
	archive bool
}

// Key names the index of the layer, for [Store.IndexPath] and
// [Store.ContentPath]. That of an archive is another than that of the same
// file read as a layer.
func (spec Spec) Key() string {
	if spec.archive {
		return "archive:" + spec.Blob.ID()
	}
	if t := spec.table(); !t.none() {
		return "table " + t.String() + " of " + spec.Blob.ID()
	}
	return spec.Blob.ID()
}

// A DigestError says that a layer is not the one that the image names.
type DigestError struct {
	What      string // "digest" or "diffID"
	Want, Got string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s is %s, the image says %s: damaged or altered", e.What, e.Got, e.Want)
}

// EnsureIndex sees to it that the layer has an index in the store, and makes
// it, checking digest and diffID, if it has none that is sound. Any number of
// processes may ask for one at once: one makes it.
func (s *Store) EnsureIndex(ctx context.Context, spec Spec) error {
	path := s.IndexPath(spec.Key())
	err := s.Make(ctx, path, func() error {
		ix, err := s.OpenIndex(spec)
		if err != nil {
			return err
		}
		return ix.Close()
	}, func(f *os.File) error {
		if err := s.writeIndex(ctx, spec, f); err != nil {
			return err
		}
		// Before there is an index, so that nobody who waits for it reads the
		// blob once more.
		return s.proven(ctx, spec.Key(), Place(spec.Blob))
	})
	if err != nil {
		return err
	}
	return s.prove(ctx, spec)
}

// HasIndex says whether the layer has an index that is sound.
func (s *Store) HasIndex(spec Spec) bool {
	ix, err := s.OpenIndex(spec)
	if err == nil {
		ix.Close()
	}
	return err == nil
}

// OpenIndex opens the index of a layer, which [Store.EnsureIndex] has made, and
// checks that it keeps the promises.
func (s *Store) OpenIndex(spec Spec) (*toc.Index, error) {
	ix, err := toc.OpenIndex(s.IndexPath(spec.Key()))
	if err != nil {
		return nil, err
	}
	info := ix.Info()
	err = check(spec, info.Digest, info.DiffID)
	if err == nil && info.BlobSize != spec.Blob.Size() {
		err = fmt.Errorf("blob of %d bytes, its index is of %d", spec.Blob.Size(), info.BlobSize)
	}
	if err != nil {
		ix.Close()
		return nil, err
	}
	return ix, nil
}

// check compares what was found with what was promised.
func check(spec Spec, digest, diffID string) error {
	if spec.Digest != "" && digest != spec.Digest {
		return &DigestError{"digest", spec.Digest, digest}
	}
	if spec.DiffID != "" && diffID != spec.DiffID {
		return &DigestError{"diffID", spec.DiffID, diffID}
	}
	return nil
}

// writeIndex fills f with the index of a layer: out of a table of contents that
// the layer carries, else by a pass over all of it.
func (s *Store) writeIndex(ctx context.Context, spec Spec, f *os.File) error {
	if spec.table().none() {
		return s.indexByPass(ctx, spec, f, nil)
	}
	doubt := indexByTable(ctx, spec, f)
	if doubt == nil {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	return s.indexByPass(ctx, spec, f, []string{fmt.Sprintf("its own table of contents is not used: %v", doubt)})
}

// indexByPass is writeIndex without a table. said are notes that it begins with.
func (s *Store) indexByPass(ctx context.Context, spec Spec, f *os.File, said []string) error {
	w, err := toc.NewWriter(f)
	if err != nil {
		return err
	}
	defer w.Close()
	p := pass{spec: spec, src: spec.Blob, w: w, progress: spec.Progress}
	if spec.archive {
		p.archive = s
	}
	if p.progress == nil {
		p.progress = func(int64) {}
	}
	codec, err := p.run(ctx)
	if err != nil {
		return p.blame(ctx, err)
	}
	if err := check(spec, p.digest, p.diffID); err != nil {
		return err
	}
	info := toc.Info{Codec: codec, BlobSize: spec.Blob.Size(), LayerSize: p.size, Digest: p.digest, DiffID: p.diffID}
	info.Notes = append(said, notes(p.scan)...)
	return w.Finish(info)
}

// A Layer is a layer whose bytes can be read. Close it when nobody reads.
type Layer struct {
	*blob.Reader

	store *Store
	spec  Spec

	mu     sync.Mutex
	opened []func() error // closes what the reader has opened
}

// Layer gives a layer whose index was ensured. Nothing is opened before the
// first read; an index that was deleted or damaged since is made again then.
func (s *Store) Layer(spec Spec, cache *blob.Cache) *Layer {
	l := &Layer{store: s, spec: spec}
	l.Reader = blob.NewReader(spec.Blob, cache, l.openIndex)
	return l
}

func (l *Layer) openIndex(ctx context.Context) (*toc.Index, error) {
	if err := l.store.EnsureIndex(ctx, l.spec); err != nil {
		return nil, err
	}
	ix, err := l.store.OpenIndex(l.spec)
	if err == nil {
		l.closeLater(ix.Close)
	}
	return ix, err
}

func (l *Layer) closeLater(c func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = append(l.opened, c)
}

// Close lets go of what the layer has open; the blob stays its owner's.
func (l *Layer) Close() error {
	l.Reader.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, c := range l.opened {
		errs = append(errs, c())
	}
	l.opened = nil
	return errors.Join(errs...)
}
