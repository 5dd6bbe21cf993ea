package builder

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// write has config and manifest of an image enter the store.
func (b *build) write(ctx context.Context, img *built, annotations map[string]string) (manifest ocispec.Descriptor, config digest.Digest, err error) {
	img.config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Layers: []ocispec.Descriptor{}, Annotations: annotations,
	}
	for _, l := range img.layers {
		img.config.RootFS.DiffIDs = append(img.config.RootFS.DiffIDs, l.diffID)
		m.Layers = append(m.Layers, l.Descriptor)
	}
	if m.Config, err = b.put(ctx, ocispec.MediaTypeImageConfig, &img.config); err != nil {
		return manifest, "", err
	}
	manifest, err = b.put(ctx, ocispec.MediaTypeImageManifest, &m)
	return manifest, m.Config.Digest, err
}

// put has something enter the store as JSON.
func (b *build) put(ctx context.Context, mediaType string, v any) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := b.lease.Hold(ctx, d.Digest); err != nil {
		return d, err
	}
	return d, b.Images.AddBytes(ctx, d, raw)
}

// finish writes the image that was asked for.
func (b *build) finish(ctx context.Context, target *built) (ocispec.Descriptor, digest.Digest, error) {
	img := *target
	if len(b.Labels) > 0 {
		labels := maps.Clone(img.config.Config.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, b.Labels)
		img.config.Config.Labels = labels
	}
	if img.config.Created == nil {
		now := b.now().UTC()
		img.config.Created = &now
	}
	return b.write(ctx, &img, b.Annotations)
}

// intermediate writes an image as far as it has come, to be found by its ID.
func (b *build) intermediate(ctx context.Context, img built) (digest.Digest, error) {
	manifest, config, err := b.write(ctx, &img, nil)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, manifest)
	return config, nil
}

// remember gives rows of the store to the intermediate images.
func (b *build) remember(ctx context.Context) error {
	if len(b.rows) == 0 {
		return nil
	}
	return b.Images.Remember(ctx, b.rows)
}
