package images

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A Named is a row of the layout's index: what a name leads to.
type Named struct {
	Name string // in full: "docker.io/library/debian:12"; "" has lost its name
	Desc ocispec.Descriptor
}

// intermediateKey is the annotation of rows of images that a build has come by.
const intermediateKey = "mica.intermediate"

// Intermediate reports whether it is the image after a step of a build, which was
// never given a name.
func (n Named) Intermediate() bool { return n.Desc.Annotations[intermediateKey] != "" }

// maxIndex bounds the layout's index, in bytes: a hundred thousand names.
const maxIndex = 64 << 20

// List gives all rows, in their order. An absent store has none.
func (s *Store) List() ([]Named, error) {
	ix, err := s.readIndex()
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []Named
	for _, d := range ix.Manifests {
		rows = append(rows, Named{d.Annotations[ocispec.AnnotationRefName], d})
	}
	return rows, nil
}

func (s *Store) readIndex() (*ocispec.Index, error) {
	path := s.path("images", ocispec.ImageIndexFile)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxIndex {
		return nil, fmt.Errorf("%s: %d bytes long; more than %d are not read", path, st.Size(), maxIndex)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ix ocispec.Index
	if err := json.Unmarshal(b, &ix); err != nil {
		return nil, fmt.Errorf("%s: not right as JSON: %w", path, err)
	}
	for _, d := range ix.Manifests {
		if err := d.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("%s: digest %q: %w", path, string(d.Digest), err)
		}
	}
	return &ix, nil
}

func (s *Store) writeIndex(ix *ocispec.Index) error {
	b, err := json.MarshalIndent(ix, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.path("images", ocispec.ImageIndexFile), append(b, '\n'))
}

// edit changes the index under the lock.
func (s *Store) edit(ctx context.Context, change func(ix *ocispec.Index) error) error {
	if err := s.init(ctx); err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ix, err := s.readIndex()
	if err != nil {
		return err
	}
	if err := change(ix); err != nil {
		return err
	}
	return s.writeIndex(ix)
}

// Tag has a name lead to a manifest or index that is in the store; with "" it
// only stays. What the name has led to before stays, without a name if that was
// its last.
func (s *Store) Tag(ctx context.Context, name string, d ocispec.Descriptor) error {
	return s.edit(ctx, func(ix *ocispec.Index) error {
		if _, err := os.Stat(s.BlobPath(d.Digest)); err != nil {
			return err // removed since it was looked up
		}
		if name != "" {
			drop(ix, func(have ocispec.Descriptor) bool { return nameOf(have) == name }, d.Digest)
		}
		// What a build has only come by is asked for now.
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(have ocispec.Descriptor) bool {
			return have.Digest == d.Digest && Named{Desc: have}.Intermediate()
		})
		for _, have := range ix.Manifests {
			if have.Digest == d.Digest && (name == "" || nameOf(have) == name) {
				return nil
			}
		}
		// A row without a name was for want of one.
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(have ocispec.Descriptor) bool {
			return have.Digest == d.Digest && nameOf(have) == ""
		})
		ix.Manifests = append(ix.Manifests, row(name, d))
		return nil
	})
}

// Remember adds rows without a name for images that a build has come by, where
// there is none that leads to them.
func (s *Store) Remember(ctx context.Context, all []ocispec.Descriptor) error {
	return s.edit(ctx, func(ix *ocispec.Index) error {
		for _, d := range all {
			if slices.ContainsFunc(ix.Manifests, func(have ocispec.Descriptor) bool { return have.Digest == d.Digest }) {
				continue
			}
			r := row("", d)
			r.Annotations = map[string]string{intermediateKey: "true"}
			ix.Manifests = append(ix.Manifests, r)
		}
		return nil
	})
}

// Untag takes names away and tells which there were. What has lost its last
// name stays without one.
func (s *Store) Untag(ctx context.Context, names ...string) (gone []string, err error) {
	err = s.edit(ctx, func(ix *ocispec.Index) error {
		drop(ix, func(have ocispec.Descriptor) bool {
			hit := nameOf(have) != "" && slices.Contains(names, nameOf(have))
			if hit {
				gone = append(gone, nameOf(have))
			}
			return hit
		}, "")
		return nil
	})
	return gone, err
}

// Drop takes away rows for good: those that gone says.
func (s *Store) Drop(ctx context.Context, gone func(Named) bool) error {
	return s.edit(ctx, func(ix *ocispec.Index) error {
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d ocispec.Descriptor) bool { return gone(Named{nameOf(d), d}) })
		return nil
	})
}

// drop takes rows away. A digest that is in no row after that, but for the one
// of keep, gets one without a name.
func drop(ix *ocispec.Index, gone func(ocispec.Descriptor) bool, keep digest.Digest) {
	var lost []ocispec.Descriptor
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d ocispec.Descriptor) bool {
		if !gone(d) {
			return false
		}
		lost = append(lost, d)
		return true
	})
	for _, d := range lost {
		if d.Digest != keep && !slices.ContainsFunc(ix.Manifests, func(have ocispec.Descriptor) bool { return have.Digest == d.Digest }) {
			ix.Manifests = append(ix.Manifests, row("", d))
		}
	}
}

func nameOf(d ocispec.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// row is the descriptor of a row, with none of the annotations that it had
// elsewhere: those may be names there.
func row(name string, d ocispec.Descriptor) ocispec.Descriptor {
	out := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType, Platform: d.Platform}
	if name != "" {
		out.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	}
	return out
}

// Repository and tag of a row's name as docker shows them, "<none>" where there
// is none.
func (n Named) Repository() (repository, tag string) {
	named, err := reference.ParseNormalizedNamed(n.Name)
	if err != nil {
		return cmp.Or(n.Name, "<none>"), "<none>"
	}
	tag = "<none>"
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	return reference.FamiliarName(named), tag
}

// readOnly says that an error tells of a file system that takes no changes.
func readOnly(err error) bool { return errors.Is(err, unix.EROFS) }
