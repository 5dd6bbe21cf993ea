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
	"golang.org/x/sync/errgroup"
)

// A Target is a repository that images are pushed to.
type Target interface {
	HasManifest(ctx context.Context, d ocispec.Descriptor) (bool, error)
	HasBlob(ctx context.Context, d ocispec.Descriptor) (bool, error)
	// PutBlob uploads a blob, or has it taken from another repository, from,
	// unless that is "".
	PutBlob(ctx context.Context, d ocispec.Descriptor, from string, open func() (io.ReadCloser, error)) error
	PutManifest(ctx context.Context, ref string, d ocispec.Descriptor, raw []byte) error
}

// A Push says what is to be uploaded.
type Push struct {
	To   Target
	Name reference.Named // what it is called there
	Desc ocispec.Descriptor
	// Progress, if not nil, is asked for what is told of a layer's bytes.
	Progress func(name string, size int64) func(n int64)
}

// A MissingError says that an index cannot be pushed, as the registry wants all
// that it leads to.
type MissingError struct{ Digest digest.Digest }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s, which the index lists, is not in the store", e.Digest)
}
func (e *MissingError) Code() string { return "missing" }
func (e *MissingError) Hint() string {
	return "mica pull --all-platforms NAME, or --platform OS/ARCH for one alone"
}

// Push uploads an image or a whole index: what the registry has not, layers
// side by side, manifests after what they lead to.
func (s *Store) Push(ctx context.Context, p Push) (err error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	u := &pusher{Push: p, store: s, from: s.repositories(p.Name), seen: map[digest.Digest]bool{}}
	if err := s.hold(ctx, lease, p.Desc.Digest); err != nil {
		return err
	}
	ref := "latest"
	switch name := p.Name.(type) {
	case reference.Tagged:
		ref = name.Tag()
	case reference.Digested:
		ref = name.Digest().String()
	}
	return u.push(ctx, p.Desc, ref)
}

// hold leases an image and all that it leads to.
func (s *Store) hold(ctx context.Context, lease *Lease, d digest.Digest) error {
	all := map[digest.Digest]bool{}
	if err := s.reach(d, all); err != nil {
		return err
	}
	for d := range all {
		if err := lease.Hold(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// repositories gives for each blob of our images in the same registry a
// repository that should have it.
func (s *Store) repositories(to reference.Named) map[digest.Digest]string {
	from := map[digest.Digest]string{}
	rows, err := s.List()
	if err != nil {
		return from // it is only quicker with
	}
	for _, r := range rows {
		named, err := reference.ParseNormalizedNamed(r.Name)
		if err != nil || reference.Domain(named) != reference.Domain(to) || reference.Path(named) == reference.Path(to) {
			continue
		}
		seen := map[digest.Digest]bool{}
		if s.reach(r.Desc.Digest, seen) == nil {
			for d := range seen {
				from[d] = reference.Path(named)
			}
		}
	}
	return from
}

type pusher struct {
	Push
	store *Store
	from  map[digest.Digest]string
	seen  map[digest.Digest]bool
}

// push uploads a manifest or an index by tag or digest, after what it leads to.
func (u *pusher) push(ctx context.Context, d ocispec.Descriptor, ref string) error {
	raw, err := u.store.ReadBlob(d.Digest, MaxManifest)
	if errors.Is(err, iofs.ErrNotExist) {
		if has, err := u.To.HasManifest(ctx, d); has || err != nil {
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
		if u.seen[sub.Digest] {
			continue
		}
		u.seen[sub.Digest] = true
		if err := u.push(ctx, sub, sub.Digest.String()); err != nil {
			return err
		}
	}
	if err := u.blobs(ctx, refs); err != nil {
		return err
	}
	if d.MediaType == "" {
		d.MediaType = refs.MediaType
	}
	return u.To.PutManifest(ctx, ref, d, raw)
}

func (u *pusher) blobs(ctx context.Context, refs *References) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(Side)
	for i, d := range refs.Leaves() {
		if u.seen[d.Digest] {
			continue
		}
		u.seen[d.Digest] = true
		name := fmt.Sprintf("layer %d/%d", i+1, len(refs.Layers))
		if i >= len(refs.Layers) {
			name = "config"
		}
		g.Go(func() error {
			if err := u.blob(ctx, d, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (u *pusher) blob(ctx context.Context, d ocispec.Descriptor, name string) error {
	has, err := u.To.HasBlob(ctx, d)
	if has || err != nil {
		return err
	}
	count := func(int64) {}
	if u.Progress != nil {
		count = u.Progress(name, d.Size)
	}
	return u.To.PutBlob(ctx, d, u.from[d.Digest], func() (io.ReadCloser, error) {
		f, err := os.Open(u.store.BlobPath(d.Digest))
		if err != nil {
			return nil, err
		}
		return &counted{f, count}, nil
	})
}

// counted tells of what is read of a file.
type counted struct {
	*os.File
	count func(n int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.count(int64(n))
	return n, err
}

// WriteTo hides that of the file, which would be read uncounted.
func (c *counted) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}
