package images

import (
	"context"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore"
)

// A Store is the images of a mica store. Its methods may be called from any
// number of goroutines and processes.
type Store struct {
	layers *layerstore.Store // whose root it shares
	made   sync.Once
	failed error // of making the layout
}

// Open gives the images of a store. The layout is made at the first write.
func Open(layers *layerstore.Store) *Store { return &Store{layers: layers} }

// Layers is the store of indexes beside the images.
func (s *Store) Layers() *layerstore.Store { return s.layers }

// Dir is the OCI image layout.
func (s *Store) Dir() string { return s.path("images") }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.layers.Root()}, parts...)...)
}

// BlobPath is where the blob of a digest lies, or would.
func (s *Store) BlobPath(d digest.Digest) string {
	return s.path("images", "blobs", d.Algorithm().String(), d.Encoded())
}

// lockName is the lock of all that is said in the package document.
const lockName = "images"

func (s *Store) lock(ctx context.Context) (func(), error) {
	return s.layers.Lock(ctx, lockName, false)
}

// Share keeps blobs from being collected until the function that it gives is
// called: for as long as it takes to open the files of an image. In a store
// that cannot be written nobody collects either.
func (s *Store) Share(ctx context.Context) (func(), error) {
	unlock, err := s.layers.Lock(ctx, lockName, true)
	if errors.Is(err, iofs.ErrPermission) || readOnly(err) {
		return func() {}, nil
	}
	return unlock, err
}

// init makes an empty layout if there is none.
func (s *Store) init(ctx context.Context) error {
	s.made.Do(func() { s.failed = s.makeLayout(ctx) })
	return s.failed
}

func (s *Store) makeLayout(ctx context.Context) error {
	if _, err := os.Stat(s.path("images", ocispec.ImageIndexFile)); err == nil {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range []string{s.path("images", "blobs", "sha256"), s.path("partial"), s.path("leases")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := replaceFile(s.path("images", ocispec.ImageLayoutFile), version); err != nil {
		return err
	}
	if _, err := os.Stat(s.path("images", ocispec.ImageIndexFile)); err == nil {
		return nil // another was faster
	}
	return s.writeIndex(&ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}})
}

// replaceFile writes a file whole or not at all; the lock is held.
func replaceFile(path string, b []byte) (err error) {
	// Beside the layout's files, in a name that a killed process leaves to the next.
	temp := filepath.Join(filepath.Dir(path), ".tmp-"+filepath.Base(path))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return renameSynced(temp, path)
}

// renameSynced gives a synced file its name for good.
func renameSynced(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
