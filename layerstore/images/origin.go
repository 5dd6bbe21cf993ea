package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/transport"
)

// Own gives the store as what images are copied from: its manifests are known
// by digest.
func (s *Store) Own() Remote { return own{s} }

type own struct{ store *Store }

func (o own) Manifest(_ context.Context, ref string) (ocispec.Descriptor, []byte, error) {
	d := digest.Digest(ref)
	raw, err := o.store.ReadBlob(d, MaxManifest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	refs, err := ParseReferences("manifest "+ref, raw)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return ocispec.Descriptor{MediaType: refs.MediaType, Digest: d, Size: int64(len(raw))}, raw, nil
}

func (o own) Blob(_ context.Context, d ocispec.Descriptor, off int64) (io.ReadCloser, error) {
	f, err := os.Open(o.store.BlobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Of gives an image that lies in files as what it is copied from: the manifest
// that it has or, in a form that has none, the one that [Store.Bring] would make.
// The image stays the caller's.
func Of(ctx context.Context, img *transport.Image) (Remote, error) {
	p, err := partsOf(ctx, img)
	if err != nil {
		return nil, err
	}
	o := &imageOrigin{parts: p, img: img, at: map[digest.Digest]int{}}
	for i, d := range p.layers {
		o.at[d.Digest] = i
	}
	return o, nil
}

type imageOrigin struct {
	parts
	img *transport.Image
	at  map[digest.Digest]int // number of a layer
}

func (o *imageOrigin) Manifest(_ context.Context, ref string) (ocispec.Descriptor, []byte, error) {
	if ref != "" && ref != o.manifest.Digest.String() {
		return ocispec.Descriptor{}, nil, fmt.Errorf("manifest %s: not that of the image", ref)
	}
	return o.manifest, o.raw, nil
}

func (o *imageOrigin) Blob(_ context.Context, d ocispec.Descriptor, off int64) (io.ReadCloser, error) {
	if d.Digest == o.config.Digest {
		return io.NopCloser(bytes.NewReader(o.img.RawConfig[min(off, int64(len(o.img.RawConfig))):])), nil
	}
	i, ok := o.at[d.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: no blob of the image", d.Digest)
	}
	src := o.img.Layers[i].Blob
	return io.NopCloser(io.NewSectionReader(src, off, src.Size()-off)), nil
}
