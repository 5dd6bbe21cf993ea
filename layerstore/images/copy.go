package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"mica/layerstore/transport"
)

// A Copy says what is to go from one place to another, neither of which need be
// a store.
type Copy struct {
	From Remote
	Ref  string // of the manifest or index there
	To   Target
	// As is what it is called there: a tag, or a full name in archives; with ""
	// it has no name.
	As string
	// Platform and All are as in [Pull].
	Platform string
	All      bool
	// Progress, if not nil, is asked for what is told of a layer's bytes.
	Progress func(name string, size int64) func(n int64)
}

// Run copies an image, or a whole index, and gives what it is. Manifests are
// written after what they lead to; all keeps its digest.
func (c Copy) Run(ctx context.Context) (ocispec.Descriptor, error) {
	root, raw, err := c.From.Manifest(ctx, c.Ref)
	if err != nil {
		return root, err
	}
	for depth := 0; !c.All; depth++ {
		refs, err := ParseReferences("manifest "+root.Digest.String(), raw)
		if err != nil {
			return root, err
		}
		if refs.Manifests == nil {
			break
		}
		if depth > maxDepth {
			return root, fmt.Errorf("index %s: more than %d deep", root.Digest, maxDepth)
		}
		chosen, err := ChooseManifest(refs.Manifests, c.Platform)
		if err != nil {
			return root, err
		}
		if root, raw, err = c.From.Manifest(ctx, chosen.Digest.String()); err != nil {
			return root, err
		}
	}
	one := &copier{from: c.From, to: c.To, progress: c.Progress, seen: map[digest.Digest]bool{}}
	return root, one.copy(ctx, root, c.As)
}

// CopyTo copies an image of the store, for one platform, under its name: its tag
// where the target has tags.
func (s *Store) CopyTo(ctx context.Context, to Target, img Saved) (err error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	if err := s.hold(ctx, lease, img.Image); err != nil {
		return err
	}
	as := img.Name
	if name, err := reference.ParseNormalizedNamed(as); err == nil {
		if tagged, ok := name.(reference.Tagged); ok {
			as = tagged.Tag()
		}
	}
	_, err = Copy{From: s.Own(), Ref: img.Image.String(), To: to, As: as}.Run(ctx)
	return err
}

// ChooseManifest gives the manifest of an index for a platform.
func ChooseManifest(all []ocispec.Descriptor, platform string) (ocispec.Descriptor, error) {
	var candidates []ocispec.Descriptor
	var platforms []*ocispec.Platform
	for _, d := range all {
		if !transport.BesideImages(d) {
			candidates, platforms = append(candidates, d), append(platforms, d.Platform)
		}
	}
	if len(candidates) == 0 {
		return ocispec.Descriptor{}, errors.New("the index lists no image")
	}
	i, err := transport.BestPlatform(platform, platforms)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return candidates[i], nil
}

// A copier is one copy.
type copier struct {
	from Remote
	to   Target
	// elsewhere has for blobs a repository that should have them.
	elsewhere map[digest.Digest]string
	progress  func(name string, size int64) func(n int64)
	seen      map[digest.Digest]bool
}

// copy writes a manifest or an index under a name or a digest, after what it
// leads to.
func (c *copier) copy(ctx context.Context, d ocispec.Descriptor, ref string) error {
	own, raw, err := c.from.Manifest(ctx, d.Digest.String())
	if errors.Is(err, iofs.ErrNotExist) {
		if has, err := c.to.HasManifest(ctx, d); has || err != nil {
			return err
		}
		return &MissingError{d.Digest}
	}
	if err != nil {
		return err
	}
	refs, err := ParseReferences("manifest "+d.Digest.String(), raw)
	if err != nil {
		return err
	}
	for _, sub := range refs.Manifests {
		if c.seen[sub.Digest] {
			continue
		}
		c.seen[sub.Digest] = true
		if len(c.seen) > maxManifests {
			return fmt.Errorf("index %s: more than %d manifests", d.Digest, maxManifests)
		}
		if err := c.copy(ctx, sub, sub.Digest.String()); err != nil {
			return err
		}
	}
	if err := c.blobs(ctx, refs); err != nil {
		return err
	}
	if d.MediaType == "" {
		d.MediaType = own.MediaType
	}
	d.Size = int64(len(raw))
	return c.to.PutManifest(ctx, ref, d, raw)
}

// blobs copies what a manifest leads to, side by side unless the target writes
// one after the other.
func (c *copier) blobs(ctx context.Context, refs *References) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(Side)
	if _, ok := c.to.(*Archive); ok {
		g.SetLimit(1)
	}
	sent := map[digest.Digest]bool{}
	for i, d := range refs.Leaves() {
		if c.seen[d.Digest] || sent[d.Digest] {
			continue
		}
		sent[d.Digest] = true
		name := fmt.Sprintf("layer %d/%d", i+1, len(refs.Layers))
		if i >= len(refs.Layers) {
			name = "config"
		}
		g.Go(func() error {
			if err := c.blob(ctx, d, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	err := g.Wait()
	for d := range sent {
		c.seen[d] = true
	}
	return err
}

func (c *copier) blob(ctx context.Context, d ocispec.Descriptor, name string) error {
	has, err := c.to.HasBlob(ctx, d)
	if has || err != nil {
		return err
	}
	count := func(int64) {}
	if c.progress != nil {
		count = c.progress(name, d.Size)
	}
	return c.to.PutBlob(ctx, d, c.elsewhere[d.Digest], func() (io.ReadCloser, error) {
		r, err := c.from.Blob(ctx, d, 0)
		if err != nil {
			return nil, err
		}
		return &counted{r, count}, nil
	})
}

// counted tells of what is read.
type counted struct {
	io.ReadCloser
	count func(n int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.count(int64(n))
	return n, err
}
