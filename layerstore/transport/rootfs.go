package transport

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A rootfs is a tar file of a root filesystem, compressed or not: one layer
// and nothing else.
type rootfs struct{ src *source }

func (r *rootfs) list(context.Context) ([]entry, error) { return []entry{{scheme: "rootfs"}}, nil }

func (r *rootfs) find(_ context.Context, d digest.Digest) (entry, error) {
	return entry{}, notExist(d.String())
}

func (r *rootfs) platforms(context.Context, entry) []*ocispec.Platform { return nil }

func (r *rootfs) image(context.Context, entry, platform) (*Image, error) {
	return &Image{Layers: []Layer{{Blob: r.src}}}, nil
}

func (r *rootfs) close() error { return r.src.Close() }
