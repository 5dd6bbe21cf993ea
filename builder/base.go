package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/transport"
)

// base has an image enter the store, without a name, to be built on.
func (b *build) base(ctx context.Context, name string, platform *ocispec.Platform) (_ *built, err error) {
	img, err := b.Find(ctx, name, platform)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	descs, err := b.Images.Take(ctx, b.lease, img, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := &built{snapshot: &snapshot{store: b.Images}}
	if img.RawConfig != nil {
		if err := json.Unmarshal(img.RawConfig, &out.config); err != nil {
			return nil, fmt.Errorf("%s: config: %w", name, err)
		}
	} else {
		out.config.Platform = b.Platform
	}
	for i, l := range img.Layers {
		diffID, err := b.diffID(ctx, &l, descs[i])
		if err != nil {
			return nil, fmt.Errorf("%s: layer %d/%d: %w", name, i+1, len(img.Layers), err)
		}
		descs[i].MediaType = ociType(descs[i].MediaType)
		out.layers = append(out.layers, layer{descs[i], diffID, l.History})
	}
	out.completeHistory()
	return out, nil
}

// diffID gives that of a layer that is in the store.
func (b *build) diffID(ctx context.Context, l *transport.Layer, d ocispec.Descriptor) (digest.Digest, error) {
	if l.DiffID != "" {
		return l.DiffID, nil
	}
	src, err := transport.OpenBlob(b.Images.BlobPath(d.Digest), d.Digest)
	if err != nil {
		return "", err
	}
	defer src.Close()
	spec := (&layer{Descriptor: d}).spec(src)
	if err := b.Images.Layers().EnsureIndex(ctx, spec); err != nil {
		return "", err
	}
	ix, err := b.Images.Layers().OpenIndex(spec)
	if err != nil {
		return "", err
	}
	return digest.Digest(ix.Info().DiffID), ix.Close()
}

// completeHistory sees to it that the history tells of as many layers as there
// are: readers match them by their count.
func (b *built) completeHistory() {
	n := 0
	for _, h := range b.config.History {
		if !h.EmptyLayer {
			n++
		}
	}
	if n > len(b.layers) {
		b.config.History, n = nil, 0
	}
	for ; n < len(b.layers); n++ {
		b.config.History = append(b.config.History, ocispec.History{Comment: "not told by the image"})
	}
}

// scratch is the image that FROM scratch begins with.
func (b *build) scratch() *built {
	out := &built{snapshot: &snapshot{store: b.Images}}
	out.config = v1.DockerOCIImage{}
	out.config.Platform = b.Platform
	return out
}

// ociType gives the OCI's name for a type of layer of docker's.
func ociType(mediaType string) string {
	switch mediaType {
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ocispec.MediaTypeImageLayer
	case "application/vnd.docker.image.rootfs.diff.tar.gzip":
		return ocispec.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return ocispec.MediaTypeImageLayerZstd
	}
	return mediaType
}
