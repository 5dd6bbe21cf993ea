package images

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	c := &copier{from: s.Own(), to: p.To, elsewhere: s.repositories(p.Name), progress: p.Progress, seen: map[digest.Digest]bool{}}
	return c.copy(ctx, p.Desc, ref)
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
