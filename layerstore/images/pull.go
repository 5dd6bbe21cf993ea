package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// A Remote is a repository that images are pulled from.
type Remote interface {
	// Manifest gives a manifest or index by tag or digest, of at most
	// [MaxManifest] bytes, which are those of the digest.
	Manifest(ctx context.Context, ref string) (ocispec.Descriptor, []byte, error)
	// Blob gives the bytes of a blob from an offset on, unchecked.
	Blob(ctx context.Context, d ocispec.Descriptor, off int64) (io.ReadCloser, error)
}

// A Pull says what is to be fetched.
type Pull struct {
	From Remote
	Ref  string // the tag or digest there
	Name string // that it gets, in full; "" is none
	// Platform is as in [transport.Options]; with All all of an index is fetched.
	Platform string
	All      bool
	// Progress, if not nil, is asked for what is told of a layer's bytes.
	Progress func(name string, size int64) func(n int64)
}

// What is followed of an index: more is no image.
const (
	maxDepth     = 4
	maxManifests = 1024
	maxConfig    = 8 << 20
)

// A puller is one pull.
type puller struct {
	Pull
	store  *Store
	lease  *Lease
	images []pulled // those to be fetched
	docs   []document
	seen   map[digest.Digest]bool
}

// A document is a manifest or index, which enters the store after all that it
// leads to.
type document struct {
	desc ocispec.Descriptor
	raw  []byte
}

type pulled struct {
	desc   ocispec.Descriptor
	config ocispec.Descriptor
	layers []ocispec.Descriptor
}

// Pull fetches an image, all that is not there of it: layers side by side, each
// checked, inflated and indexed as it arrives. It gives what the name leads to.
func (s *Store) Pull(ctx context.Context, p Pull) (_ ocispec.Descriptor, err error) {
	var none ocispec.Descriptor
	lease, err := s.Lease(ctx)
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	pull := &puller{Pull: p, store: s, lease: lease, seen: map[digest.Digest]bool{}}
	root, raw, err := p.From.Manifest(ctx, p.Ref)
	if err != nil {
		return none, err
	}
	if err := pull.plan(ctx, root, raw, 0); err != nil {
		return none, err
	}
	if err := pull.fetch(ctx); err != nil {
		return none, err
	}
	// The innermost first: what is in the store has all below it.
	for i := len(pull.docs) - 1; i >= 0; i-- {
		if err := s.AddBytes(ctx, pull.docs[i].desc, pull.docs[i].raw); err != nil {
			return none, err
		}
	}
	return root, s.Tag(ctx, p.Name, root)
}

// plan notes what a manifest or index leads to.
func (p *puller) plan(ctx context.Context, d ocispec.Descriptor, raw []byte, depth int) error {
	object := "manifest " + d.Digest.String()
	if p.seen[d.Digest] {
		return nil
	}
	p.seen[d.Digest] = true
	if len(p.seen) > maxManifests || depth > maxDepth {
		return fmt.Errorf("%s: an index of more than %d manifests, or more than %d deep", object, maxManifests, maxDepth)
	}
	refs, err := ParseReferences(object, raw)
	if err != nil {
		return err
	}
	if err := p.lease.Hold(ctx, d.Digest); err != nil {
		return err
	}
	p.docs = append(p.docs, document{d, raw})
	if refs.Manifests == nil {
		return p.planImage(ctx, d, refs)
	}
	if refs.Config != nil || refs.Layers != nil {
		// Readers that go by one or the other would see two images (CVE-2021-41190).
		return fmt.Errorf("%s: has both manifests and layers", object)
	}
	wanted, err := p.choose(refs.Manifests)
	if err != nil {
		return err
	}
	for _, sub := range wanted {
		got, raw, err := p.From.Manifest(ctx, sub.Digest.String())
		if err != nil {
			return err
		}
		sub.Size, sub.MediaType = got.Size, got.MediaType
		if err := p.plan(ctx, sub, raw, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// choose gives those manifests of an index that are to be fetched.
func (p *puller) choose(all []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if p.All {
		return all, nil
	}
	one, err := ChooseManifest(all, p.Platform)
	return []ocispec.Descriptor{one}, err
}

func (p *puller) planImage(ctx context.Context, d ocispec.Descriptor, refs *References) error {
	if refs.Config == nil {
		return fmt.Errorf("manifest %s: has neither a config nor manifests", d.Digest)
	}
	if refs.Config.Size > maxConfig {
		return fmt.Errorf("config %s: %d bytes long; more than %d are not read", refs.Config.Digest, refs.Config.Size, maxConfig)
	}
	var all []digest.Digest
	for _, leaf := range refs.Leaves() {
		all = append(all, leaf.Digest)
	}
	p.images = append(p.images, pulled{d, *refs.Config, refs.Layers})
	return p.lease.Hold(ctx, all...)
}

// fetch gets the blobs of all images, each once.
func (p *puller) fetch(ctx context.Context) error {
	var layers []ocispec.Descriptor
	for _, img := range p.images {
		layers = append(layers, img.layers...)
	}
	if err := p.store.room(layers); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(Side)
	seen := map[digest.Digest]bool{}
	for _, img := range p.images {
		diffIDs, err := p.fetchConfig(ctx, img)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		for i, d := range img.layers {
			if seen[d.Digest] || p.store.Has(d) {
				continue
			}
			seen[d.Digest] = true
			name := fmt.Sprintf("layer %d/%d", i+1, len(img.layers))
			a := Arrival{Desc: d, Layer: diffIDs != nil, Open: func(ctx context.Context, off int64) (io.ReadCloser, error) { return p.From.Blob(ctx, d, off) }}
			if diffIDs != nil {
				a.DiffID = diffIDs[i]
			}
			if p.Progress != nil {
				a.Progress = p.Progress(name, d.Size)
			}
			g.Go(func() error {
				if err := p.store.Add(ctx, a); err != nil {
					return fmt.Errorf("%s %s: %w", name, d.Digest, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// fetchConfig gets a config, and gives the diffIDs of the layers; nil for what
// is no image of a root filesystem.
func (p *puller) fetchConfig(ctx context.Context, img pulled) ([]string, error) {
	raw, err := p.store.ReadBlob(img.config.Digest, maxConfig)
	if err != nil {
		r, err := p.From.Blob(ctx, img.config, 0)
		if err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		raw, err = io.ReadAll(io.LimitReader(r, img.config.Size))
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		if err := p.store.AddBytes(ctx, img.config, raw); err != nil {
			return nil, fmt.Errorf("config %s: %w", img.config.Digest, err)
		}
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(raw, &config) != nil || len(config.RootFS.DiffIDs) != len(img.layers) || len(img.layers) == 0 {
		return nil, nil // an artifact; or nothing that could be mounted
	}
	return config.RootFS.DiffIDs, nil
}
