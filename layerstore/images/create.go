package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/transport"
)

// Create has a new layer enter the store: the tar that write gives. It is
// compressed and indexed as it is written. The lease holds it.
func (s *Store) Create(ctx context.Context, lease *Lease, how layerstore.Packing, write func(w io.Writer) error) (desc ocispec.Descriptor, diffID digest.Digest, err error) {
	// Its digest, and so its name, is not known yet; the mode is that of all blobs.
	f, err := s.ownedFile(ctx, "partial", "new-", 0o644)
	if err != nil {
		return desc, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p, err := s.layers.Pack(ctx, f, how, write)
	if err != nil {
		return desc, "", errors.Join(err, os.Remove(f.Name()))
	}
	defer p.Close()
	desc = ocispec.Descriptor{MediaType: layerType(how.Codec), Digest: digest.Digest(p.Digest), Size: p.Blob}
	// Before it has its name, as everything is that a name may be given to.
	if err := lease.Hold(ctx, desc.Digest); err != nil {
		return desc, "", errors.Join(err, os.Remove(f.Name()))
	}
	return desc, digest.Digest(p.DiffID), s.keepCreated(ctx, f, desc, p)
}

// keepCreated gives a new layer its name, if there is not one like it.
func (s *Store) keepCreated(ctx context.Context, f *os.File, desc ocispec.Descriptor, p *layerstore.Packed) (err error) {
	path := s.BlobPath(desc.Digest)
	if s.Has(desc) {
		err = os.Remove(f.Name())
	} else if err = f.Sync(); err == nil {
		err = renameSynced(f.Name(), path)
	}
	if err != nil {
		return err
	}
	src, err := transport.OpenBlob(path, desc.Digest)
	if err != nil {
		return err
	}
	defer src.Close()
	return s.layers.Keep(ctx, layerstore.Spec{Blob: src, Digest: p.Digest, DiffID: p.DiffID}, p)
}

func layerType(c blob.Compression) string {
	switch c {
	case blob.Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case blob.Zstd:
		return ocispec.MediaTypeImageLayerZstd
	case blob.None:
		return ocispec.MediaTypeImageLayer
	}
	panic(fmt.Sprint("no layers are written by ", c)) // Pack has refused it
}
