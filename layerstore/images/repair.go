package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/transport"
)

// A Repair says what is to be made whole, and from where.
type Repair struct {
	Desc ocispec.Descriptor
	// From gives the repository of a name in full.
	From func(ctx context.Context, name reference.Named) (Remote, error)
	// Platform is as in [transport.Options]: of an index that image, and those
	// others that are there.
	Platform string
	// Progress, if not nil, is asked for what is told of a blob's bytes.
	Progress func(name string, size int64) func(n int64)
}

// Repair hashes all blobs of an image, and fetches those that are damaged or
// missing from the repositories that the image, or another that has the blob,
// is named after. It gives those that have been fetched.
func (s *Store) Repair(ctx context.Context, r Repair) (fetched []digest.Digest, err error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	m := &mender{Repair: r, store: s, lease: lease, seen: map[digest.Digest]bool{}}
	err = m.document(ctx, r.Desc, "manifest", 0)
	return m.fetched, err
}

// A mender is one repair.
type mender struct {
	Repair
	store   *Store
	lease   *Lease
	seen    map[digest.Digest]bool
	fetched []digest.Digest
	remotes map[string]Remote // by name; nil is one that cannot be had
}

// document makes a manifest or index whole, then what it leads to.
func (m *mender) document(ctx context.Context, d ocispec.Descriptor, what string, depth int) error {
	if m.seen[d.Digest] {
		return nil
	}
	if m.seen[d.Digest] = true; depth > maxDepth {
		return fmt.Errorf("%s %s: more than %d deep", what, d.Digest, maxDepth)
	}
	if err := m.blob(ctx, Arrival{Desc: d}, what, m.manifest); err != nil {
		return err
	}
	refs, err := m.store.References(d.Digest)
	if err != nil {
		return err
	}
	for _, sub := range m.wanted(refs.Manifests) {
		if err := m.document(ctx, sub, "manifest", depth+1); err != nil {
			return err
		}
	}
	return m.leaves(ctx, refs)
}

// wanted gives those manifests of an index that are there, or should be.
func (m *mender) wanted(all []ocispec.Descriptor) []ocispec.Descriptor {
	var there, candidates []ocispec.Descriptor
	var platforms []*ocispec.Platform
	for _, d := range all {
		if _, err := os.Stat(m.store.BlobPath(d.Digest)); err == nil {
			there = append(there, d)
		}
		if !transport.BesideImages(d) {
			candidates, platforms = append(candidates, d), append(platforms, d.Platform)
		}
	}
	if i, err := transport.BestPlatform(m.Platform, platforms); err == nil && len(candidates) > 0 {
		there = append(there, candidates[i]) // twice is once
	}
	return there
}

// leaves makes config and layers whole. A layer is indexed as it arrives.
func (m *mender) leaves(ctx context.Context, refs *References) error {
	if refs.Config != nil {
		if err := m.blob(ctx, Arrival{Desc: *refs.Config}, "config", m.bytes); err != nil {
			return err
		}
	}
	var diffIDs []string
	if refs.Config != nil {
		raw, err := m.store.ReadBlob(refs.Config.Digest, maxConfig)
		if err != nil {
			return err
		}
		diffIDs = diffIDsOf(raw, len(refs.Layers))
	}
	for i, d := range refs.Layers {
		a := Arrival{Desc: d, Layer: diffIDs != nil}
		if diffIDs != nil {
			a.DiffID = diffIDs[i]
		}
		if err := m.blob(ctx, a, fmt.Sprintf("layer %d/%d", i+1, len(refs.Layers)), m.bytes); err != nil {
			return err
		}
	}
	for _, d := range refs.Blobs {
		if err := m.blob(ctx, Arrival{Desc: d}, "blob", m.bytes); err != nil {
			return err
		}
	}
	return nil
}

// blob looks at one blob, and has get fetch it from each place where it may be,
// until one has it.
func (m *mender) blob(ctx context.Context, a Arrival, what string, get func(context.Context, Remote, Arrival) error) error {
	if err := m.lease.Hold(ctx, a.Desc.Digest); err != nil {
		return err
	}
	whole, err := m.store.whole(ctx, a.Desc)
	if whole || err != nil {
		return err
	}
	var errs []error
	for _, name := range m.store.placesOf(a.Desc.Digest, m.Desc.Digest) {
		from, err := m.remote(ctx, name)
		if err == nil && from == nil {
			continue // told before
		}
		if err == nil {
			if m.Progress != nil && a.Layer {
				a.Progress = m.Progress(what, a.Desc.Size)
			}
			err = get(ctx, from, a)
		}
		if err == nil {
			m.fetched = append(m.fetched, a.Desc.Digest)
			return nil
		}
		errs = append(errs, err)
	}
	if errs == nil {
		errs = []error{errors.New("it has no name that would say where it came from")}
	}
	return &UnrepairedError{fmt.Sprintf("%s %s", what, a.Desc.Digest), errors.Join(errs...)}
}

// manifest fetches a manifest or an index.
func (m *mender) manifest(ctx context.Context, from Remote, a Arrival) error {
	_, raw, err := from.Manifest(ctx, a.Desc.Digest.String())
	if err != nil {
		return err
	}
	return m.store.addBytes(ctx, a.Desc, raw, true)
}

// bytes fetches another blob.
func (m *mender) bytes(ctx context.Context, from Remote, a Arrival) error {
	a.Open = func(ctx context.Context, off int64) (io.ReadCloser, error) { return from.Blob(ctx, a.Desc, off) }
	a.Again = true
	return m.store.Add(ctx, a)
}

// remote gives the repository of a name. A second time one that cannot be had
// is nil.
func (m *mender) remote(ctx context.Context, name reference.Named) (Remote, error) {
	from, known := m.remotes[name.Name()]
	if known {
		return from, nil
	}
	from, err := m.From(ctx, name)
	if m.remotes == nil {
		m.remotes = map[string]Remote{}
	}
	m.remotes[name.Name()] = from
	return from, err
}

// placesOf gives the names of images that have a blob: that of the image itself first.
func (s *Store) placesOf(d, image digest.Digest) []reference.Named {
	rows, err := s.List()
	if err != nil {
		return nil
	}
	var own, others []reference.Named
	for _, r := range rows {
		named, err := reference.ParseNormalizedNamed(r.Name)
		if err != nil {
			continue
		}
		seen := map[digest.Digest]bool{}
		switch {
		case r.Desc.Digest == image:
			own = append(own, named)
		case s.reach(r.Desc.Digest, seen) == nil && seen[d]:
			others = append(others, named)
		}
	}
	return append(own, others...)
}

// whole says whether a blob is there, with the bytes of its digest.
func (s *Store) whole(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	src, err := transport.OpenBlob(s.BlobPath(d.Digest), d.Digest)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer src.Close()
	if d.Size != 0 && src.Size() != d.Size {
		return false, nil
	}
	err = s.layers.Admit(ctx, layerstore.Spec{Blob: src, Digest: d.Digest.String()}, false)
	if wrong(err) || errors.Is(err, unix.EIO) { // of the disk
		return false, nil
	}
	return err == nil, err
}

// An UnrepairedError says that a blob could not be had again.
type UnrepairedError struct {
	What string
	Err  error
}

func (e *UnrepairedError) Error() string {
	return fmt.Sprintf("%s is damaged or missing, and not to be had again: %v", e.What, e.Err)
}
func (e *UnrepairedError) Unwrap() error { return e.Err }

// Code is a stable word for programs.
func (e *UnrepairedError) Code() string { return "corrupt" }

// Hint is what may help.
func (e *UnrepairedError) Hint() string {
	return "of an image that was loaded: mica rmi and mica prune, then load it again"
}
