package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/transport"
)

// Side is how many blobs arrive side by side. Each is indexed meanwhile, which
// takes memory and processors: more would not be faster.
const Side = 3

// Bring has an image that lies elsewhere enter the store, and have names, or
// stay without. Manifest and config keep their bytes; of a form that has no
// manifest one is made, the same each time. progress, if not nil, is asked for
// what is told of layer number i, of n.
func (s *Store) Bring(ctx context.Context, img *transport.Image, names []string, progress func(i, n int, size int64) func(int64)) (_ ocispec.Descriptor, err error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	p, err := partsOf(ctx, img)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := lease.Hold(ctx, p.manifest.Digest, p.config.Digest); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := s.bringLayers(ctx, lease, img, p.layers, progress); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := s.AddBytes(ctx, p.config, img.RawConfig); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("config: %w", err)
	}
	if err := s.AddBytes(ctx, p.manifest, p.raw); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("manifest: %w", err)
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		if err := s.Tag(ctx, name, p.manifest); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	return p.manifest, nil
}

// parts are what an image consists of, with the bytes of its manifest.
type parts struct {
	manifest, config ocispec.Descriptor
	layers           []ocispec.Descriptor
	raw              []byte
}

func partsOf(ctx context.Context, img *transport.Image) (p parts, err error) {
	if p.layers, err = describe(ctx, img); err != nil {
		return p, err
	}
	p.config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: img.ConfigDigest, Size: int64(len(img.RawConfig))}
	if p.config.Digest == "" {
		p.config.Digest = digest.FromBytes(img.RawConfig)
	}
	p.manifest, p.raw = img.Manifest, img.RawManifest
	if p.raw == nil {
		p.manifest, p.raw, err = makeManifest(p.config, p.layers)
	}
	p.manifest.Size = int64(len(p.raw))
	return p, err
}

// describe gives the descriptors of an image's layers.
func describe(ctx context.Context, img *transport.Image) ([]ocispec.Descriptor, error) {
	layers := make([]ocispec.Descriptor, len(img.Layers))
	for i, l := range img.Layers {
		d := ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Blob.Size(), Annotations: l.Annotations}
		codec, err := codecOf(l.Blob)
		if err != nil {
			return nil, fmt.Errorf("layer %d/%d: %w", i+1, len(layers), err)
		}
		if d.MediaType == "" {
			d.MediaType = ocispec.MediaTypeImageLayer + codec
		}
		if d.Digest == "" && codec == "" {
			d.Digest = l.DiffID // stored as it is
		}
		if d.Digest == "" {
			got, err := layerstore.DigestOf(ctx, layerstore.Spec{Blob: l.Blob})
			if err != nil {
				return nil, fmt.Errorf("layer %d/%d: %w", i+1, len(layers), err)
			}
			d.Digest = digest.Digest(got)
		}
		layers[i] = d
	}
	return layers, nil
}

// codecOf gives how a layer is compressed, as media types tell it.
func codecOf(src blob.Source) (string, error) {
	head := make([]byte, min(blob.SniffLen, src.Size()))
	if n, err := src.ReadAt(head, 0); n < len(head) {
		return "", err
	}
	switch blob.Sniff(head) {
	case blob.Gzip:
		return "+gzip", nil
	case blob.Zstd:
		return "+zstd", nil
	}
	return "", nil
}

func makeManifest(config ocispec.Descriptor, layers []ocispec.Descriptor) (ocispec.Descriptor, []byte, error) {
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers,
	})
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}, raw, err
}

func (s *Store) bringLayers(ctx context.Context, lease *Lease, img *transport.Image, layers []ocispec.Descriptor, progress func(i, n int, size int64) func(int64)) error {
	var all []digest.Digest
	for _, d := range layers {
		all = append(all, d.Digest)
	}
	if err := lease.Hold(ctx, all...); err != nil {
		return err
	}
	if err := s.room(layers); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(Side)
	seen := map[digest.Digest]bool{} // an image may have a layer twice
	for i, d := range layers {
		if seen[d.Digest] || s.Has(d) {
			continue
		}
		seen[d.Digest] = true
		a := Arrival{Desc: d, DiffID: img.Layers[i].DiffID.String(), Layer: true}
		src := img.Layers[i].Blob
		a.Open = func(_ context.Context, off int64) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(src, off, src.Size()-off)), nil
		}
		if progress != nil {
			a.Progress = progress(i, len(layers), d.Size)
		}
		g.Go(func() error {
			if err := s.Add(ctx, a); err != nil {
				return fmt.Errorf("layer %d/%d: %w", i+1, len(layers), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Take has the layers of an image that lies elsewhere enter the store, held by a
// lease, and gives what a manifest says of them. All else is as with Bring.
func (s *Store) Take(ctx context.Context, lease *Lease, img *transport.Image, progress func(i, n int, size int64) func(int64)) ([]ocispec.Descriptor, error) {
	layers, err := describe(ctx, img)
	if err != nil {
		return nil, err
	}
	return layers, s.bringLayers(ctx, lease, img, layers, progress)
}
