package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore"
	"mica/layerstore/transport"
)

// A Derivation is an image that is made of layers of another one, and perhaps a
// layer more.
type Derivation struct {
	// Layers are those of the other image, bottom first; DiffIDs are theirs. They
	// enter the store if they are not there.
	Layers  []transport.Layer
	DiffIDs []digest.Digest
	// Write writes one more layer, a tar, and reports whether there is anything
	// in it: if not the image has none more. Nil is none.
	Write   func(w io.Writer) (any bool, err error)
	Packing layerstore.Packing
	// Config gives the config of an image of layers with these diffIDs. more says
	// that the last is the layer that Write has written.
	Config func(diffIDs []digest.Digest, more bool) ([]byte, error)
	// Names are in full; with none the image only stays.
	Names []string
	// Progress is that of [Store.Bring].
	Progress func(i, n int, size int64) func(int64)
}

// Derive has an image enter the store that is made of another one. It gives its
// manifest and its config.
func (s *Store) Derive(ctx context.Context, d Derivation) (manifest, config ocispec.Descriptor, err error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return manifest, config, err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	below := &transport.Image{Layers: d.Layers}
	layers, err := describe(ctx, below)
	if err != nil {
		return manifest, config, err
	}
	for i, l := range d.Layers {
		// The manifest is OCI's, whatever the other one is.
		codec, err := codecOf(l.Blob)
		if err != nil {
			return manifest, config, err
		}
		layers[i].MediaType = ocispec.MediaTypeImageLayer + codec
	}
	if err := s.bringLayers(ctx, lease, below, layers, d.Progress); err != nil {
		return manifest, config, err
	}
	diffIDs, more := slices.Clone(d.DiffIDs), false
	if d.Write != nil {
		top, diffID, err := s.Create(ctx, lease, d.Packing, func(w io.Writer) (err error) { more, err = d.Write(w); return })
		if err != nil {
			return manifest, config, err
		}
		if more {
			layers, diffIDs = append(layers, top), append(diffIDs, diffID)
		}
	}
	rawConfig, err := d.Config(diffIDs, more)
	if err != nil {
		return manifest, config, err
	}
	config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(rawConfig), Size: int64(len(rawConfig))}
	manifest, raw, err := makeManifest(config, layers)
	if err != nil {
		return manifest, config, err
	}
	manifest.Size = int64(len(raw))
	if err := lease.Hold(ctx, manifest.Digest, config.Digest); err != nil {
		return manifest, config, err
	}
	if err := s.AddBytes(ctx, config, rawConfig); err != nil {
		return manifest, config, fmt.Errorf("config: %w", err)
	}
	if err := s.AddBytes(ctx, manifest, raw); err != nil {
		return manifest, config, fmt.Errorf("manifest: %w", err)
	}
	for _, name := range d.names() {
		if err := s.Tag(ctx, name, manifest); err != nil {
			return manifest, config, err
		}
	}
	return manifest, config, nil
}

func (d *Derivation) names() []string {
	if len(d.Names) == 0 {
		return []string{""}
	}
	return d.Names
}
