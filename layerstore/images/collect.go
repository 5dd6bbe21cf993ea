package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/transport"
)

// Collected is what a collection has freed, or would free.
type Collected struct {
	Blobs []digest.Digest
	Bytes int64 // of blobs, and of those that were still arriving
}

// A Collection says how to collect. Zero is that of all garbage.
type Collection struct {
	Dry     bool             // tell, delete nothing
	Without func(Named) bool // with Dry: rows that count as if they were not there; nil is none
}

// Collect deletes the blobs that neither a row nor a lease leads to, what has
// been made of them, and what the dead have left half arrived. Rows without a
// name count: drop them first if they should not.
func (s *Store) Collect(ctx context.Context, how Collection) (Collected, error) {
	var c Collected
	if _, err := os.Stat(s.path("images", ocispec.ImageIndexFile)); errors.Is(err, iofs.ErrNotExist) {
		return c, nil
	}
	if err := s.init(ctx); err != nil {
		return c, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return c, err
	}
	defer unlock()
	ix, err := s.readIndex()
	if err != nil {
		return c, err
	}
	keep := map[digest.Digest]bool{}
	for _, d := range ix.Manifests {
		if how.Dry && how.Without != nil && how.Without(Named{nameOf(d), d}) {
			continue
		}
		if err := s.reach(d.Digest, keep); err != nil {
			return c, err
		}
	}
	if err := s.leased(func(d digest.Digest) { keep[d] = true }); err != nil {
		return c, err
	}
	if err := s.sweep(ctx, keep, how.Dry, &c); err != nil {
		return c, err
	}
	return c, s.sweepPartial(how.Dry, &c)
}

// sweep deletes the blobs that are not to be kept.
func (s *Store) sweep(ctx context.Context, keep map[digest.Digest]bool, dry bool, c *Collected) error {
	return filepath.WalkDir(s.path("images", "blobs"), func(path string, e iofs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(path))), e.Name())
		if keep[d] || d.Validate() != nil || ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		c.Blobs, c.Bytes = append(c.Blobs, d), c.Bytes+info.Size()
		if dry {
			return nil
		}
		return errors.Join(s.forget(path, d), os.Remove(path))
	})
}

// forget drops the cache of a blob that is about to go.
func (s *Store) forget(path string, d digest.Digest) error {
	src, err := transport.OpenBlob(path, d)
	if err != nil {
		return nil // no regular file: nothing was made of it
	}
	defer src.Close()
	return s.layers.Forget(layerstore.Spec{Blob: src})
}

// sweepPartial deletes what nobody is filling.
func (s *Store) sweepPartial(dry bool, c *Collected) error {
	entries, err := os.ReadDir(s.path("partial"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		f, err := os.Open(s.path("partial", e.Name()))
		if err != nil {
			continue // just finished
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if st, err := f.Stat(); err == nil {
				c.Bytes += st.Size()
			}
			if !dry {
				err = os.Remove(f.Name())
			}
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// reach adds a manifest or index, and all that it leads to and that is here.
func (s *Store) reach(d digest.Digest, seen map[digest.Digest]bool) error {
	if seen[d] {
		return nil
	}
	seen[d] = true
	refs, err := s.References(d)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, sub := range refs.Manifests {
		if err := s.reach(sub.Digest, seen); err != nil {
			return err
		}
	}
	for _, leaf := range refs.Leaves() {
		seen[leaf.Digest] = true
	}
	return nil
}

// References is what a manifest or an index leads to, OCI's or docker's.
type References struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Blobs     []ocispec.Descriptor `json:"blobs"` // of an artifact manifest
	Manifests []ocispec.Descriptor `json:"manifests"`
}

// Leaves are the blobs that lead nowhere.
func (r *References) Leaves() []ocispec.Descriptor {
	leaves := append(append([]ocispec.Descriptor{}, r.Layers...), r.Blobs...)
	if r.Config != nil {
		leaves = append(leaves, *r.Config)
	}
	return leaves
}

// MaxManifest bounds manifests and indexes, in bytes, as registries do.
const MaxManifest = 4 << 20

// ParseReferences reads a manifest or an index.
func ParseReferences(object string, raw []byte) (*References, error) {
	var r References
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%s: not right as JSON: %w", object, err)
	}
	for _, d := range append(r.Leaves(), r.Manifests...) {
		if err := d.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("%s: digest %q: %w", object, string(d.Digest), err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("%s: %s of %d bytes", object, d.Digest, d.Size)
		}
	}
	return &r, nil
}

// References reads a manifest or an index that is in the store.
func (s *Store) References(d digest.Digest) (*References, error) {
	raw, err := s.ReadBlob(d, MaxManifest)
	if err != nil {
		return nil, err
	}
	return ParseReferences("manifest "+d.String(), raw)
}

// ReadBlob gives a small blob whose bytes are those of its digest.
func (s *Store) ReadBlob(d digest.Digest, limit int64) ([]byte, error) {
	st, err := os.Stat(s.BlobPath(d))
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes long; more than %d are not read", d, st.Size(), limit)
	}
	raw, err := os.ReadFile(s.BlobPath(d))
	if err != nil {
		return nil, err
	}
	if got := d.Algorithm().FromBytes(raw); got != d {
		return nil, fmt.Errorf("%s: its bytes are those of %s: damaged or altered", d, got)
	}
	return raw, nil
}
