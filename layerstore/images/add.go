package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/transport"
)

// An Opener gives the bytes of a blob from an offset on.
type Opener func(ctx context.Context, off int64) (io.ReadCloser, error)

// An Arrival is a blob that is to enter the store.
type Arrival struct {
	Desc   ocispec.Descriptor
	DiffID string // of a layer, which is indexed as it arrives; "" is not known
	Layer  bool
	Open   Opener
	// Progress is as that of [layerstore.Spec].
	Progress func(n int64)
}

// Has says whether a blob is in the store.
func (s *Store) Has(d ocispec.Descriptor) bool {
	st, err := os.Stat(s.BlobPath(d.Digest))
	return err == nil && st.Size() == d.Size
}

// Add has a blob enter the store, if it is not there. It is checked as it
// arrives; what was there of it when a process was killed is gone on with. Of
// any number of processes one fetches. The caller's lease holds it.
func (s *Store) Add(ctx context.Context, a Arrival) error {
	if err := a.Desc.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", string(a.Desc.Digest), err)
	}
	if s.Has(a.Desc) {
		return nil
	}
	f, err := s.partial(ctx, a.Desc.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if s.Has(a.Desc) { // another has been waited for
		return os.Remove(f.Name())
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	have := st.Size()
	if have > a.Desc.Size {
		have = 0
	}
	have &^= directAlign - 1
	err = s.receive(ctx, f, a, have)
	if wrong(err) && have > 0 {
		// What was there was not what it should have been: a crash of the machine.
		have, err = 0, s.receive(ctx, f, a, 0)
	}
	if wrong(err) {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err != nil {
		return err
	}
	return s.keep(ctx, f, a)
}

// wrong says that bytes have come that are not those of the blob.
func wrong(err error) bool { return errors.As(err, new(*layerstore.DigestError)) }

func (s *Store) partialPath(d digest.Digest) string {
	return s.path("partial", d.Algorithm().String()+"-"+d.Encoded())
}

// partial gives the file in which a blob arrives, locked.
func (s *Store) partial(ctx context.Context, d digest.Digest) (*os.File, error) {
	path := s.partialPath(d)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := layerstore.Flock(ctx, f, unix.LOCK_EX); err != nil {
			f.Close()
			return nil, err
		}
		// While we waited it may have been finished, or collected.
		named, err := os.Stat(path)
		if st, serr := f.Stat(); err == nil && serr == nil && os.SameFile(st, named) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return nil, err
		}
	}
}

// receive fills a file from have on, and checks all of it meanwhile.
func (s *Store) receive(ctx context.Context, f *os.File, a Arrival, have int64) error {
	if err := f.Truncate(have); err != nil {
		return err
	}
	if err := room(f, a.Desc.Size-have); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	src := newArriving(f, a.Desc, have)
	filled := make(chan error, 1)
	go func() {
		err := fill(ctx, src, a.Open, have)
		err = errors.Join(err, src.out.close())
		src.end(err)
		filled <- err
	}()
	spec := layerstore.Spec{Blob: src, Digest: a.Desc.Digest.String(), DiffID: a.DiffID, Annotations: a.Desc.Annotations, Progress: a.Progress}
	err := s.layers.Admit(ctx, spec, a.Layer)
	if err != nil {
		cancel(err)
	}
	if ferr := <-filled; ferr != nil && !errors.Is(err, ferr) && !wrong(err) {
		return ferr
	}
	return err
}

func fill(ctx context.Context, src *arriving, open Opener, have int64) error {
	if have == src.size {
		return nil
	}
	r, err := open(ctx, have)
	if err != nil {
		return err
	}
	err = src.fill(ctx, r)
	return errors.Join(err, r.Close())
}

// keep gives a blob that has been checked its place for good.
func (s *Store) keep(ctx context.Context, f *os.File, a Arrival) error {
	if err := f.Sync(); err != nil {
		return err
	}
	path := s.BlobPath(a.Desc.Digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := renameSynced(f.Name(), path); err != nil || !a.Layer {
		return err
	}
	src, err := transport.OpenBlob(path, a.Desc.Digest)
	if err != nil {
		return err
	}
	defer src.Close()
	return s.layers.Admitted(ctx, layerstore.Spec{Blob: src, Annotations: a.Desc.Annotations})
}

// AddBytes has a small blob enter the store: a manifest or a config.
func (s *Store) AddBytes(ctx context.Context, d ocispec.Descriptor, raw []byte) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", string(d.Digest), err)
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest || int64(len(raw)) != d.Size {
		return &layerstore.DigestError{What: "digest", Want: d.Digest.String(), Got: got.String()}
	}
	if s.Has(d) {
		return nil
	}
	f, err := s.partial(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if s.Has(d) {
		return os.Remove(f.Name())
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(raw, 0); err != nil {
		return err
	}
	return s.keep(ctx, f, Arrival{Desc: d})
}
