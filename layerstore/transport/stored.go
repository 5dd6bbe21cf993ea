package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Stored is all that an OCI form has in one place: a manifest, or an index
// with what it leads to, for whatever platforms. Close it when nothing of it is
// read any more.
type Stored struct {
	Names []string // as in [Image]
	Desc  ocispec.Descriptor

	layout *layout
}

// OpenStored is [Open] for a whole index. Forms without manifests, docker's
// archives for one, have none: [ErrNoManifest].
func OpenStored(ctx context.Context, ref string, o Options) (*Stored, error) {
	at, err := locateNamed(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	f, err := at.open(ctx, o)
	if err != nil {
		return nil, err
	}
	s, err := storedIn(ctx, f, at, o)
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return s, nil
}

// ErrNoManifest says that an image is in a form that has no manifests.
var ErrNoManifest = errors.New("a form without manifests")

func storedIn(ctx context.Context, f form, at location, o Options) (*Stored, error) {
	l, ok := f.(*layout)
	if !ok {
		return nil, ErrNoManifest
	}
	entries, err := l.list(ctx)
	if err != nil {
		return nil, err
	}
	want, err := wantedPlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(ctx, l, entries, at, want)
	if err != nil {
		return nil, err
	}
	if at.stored != "" {
		chosen.names = []string{at.stored}
	}
	return &Stored{chosen.names, chosen.desc, l}, nil
}

// Manifest gives a manifest or index by its digest, or what was chosen for "".
func (s *Stored) Manifest(_ context.Context, ref string) (ocispec.Descriptor, []byte, error) {
	d := s.Desc
	if ref != "" && ref != d.Digest.String() {
		d = ocispec.Descriptor{Digest: digest.Digest(ref)}
		src, err := s.layout.openBlob(d.Digest)
		if absent(err) {
			return d, nil, missingBlob("manifest", d.Digest)
		}
		if err != nil {
			return d, nil, err
		}
		d.Size = src.Size()
		if err := src.Close(); err != nil {
			return d, nil, err
		}
	}
	doc, raw, err := s.layout.document("manifest", d)
	if err != nil {
		return d, nil, err
	}
	return ocispec.Descriptor{MediaType: mediaTypeOf(d, doc), Digest: d.Digest, Size: int64(len(raw))}, raw, nil
}

func mediaTypeOf(d ocispec.Descriptor, doc *document) string {
	switch {
	case doc.MediaType != "":
		return doc.MediaType
	case d.MediaType != "":
		return d.MediaType
	case doc.isIndex():
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

// Blob gives the bytes of a blob from an offset on, unchecked.
func (s *Stored) Blob(_ context.Context, d ocispec.Descriptor, off int64) (io.ReadCloser, error) {
	src, err := s.layout.open("blob", d)
	if isMissing(err) && len(d.URLs) > 0 {
		return nil, fmt.Errorf("%w, but at %s", err, strings.Join(d.URLs, ", "))
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(src, off, src.Size()-off), src}, nil
}

// Close lets go of the files.
func (s *Stored) Close() error { return s.layout.close() }
