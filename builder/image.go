package builder

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/images"
	"mica/layerstore/transport"
	"mica/overlay"
)

// A layer is one of an image that is being built. Its blob is in the store.
type layer struct {
	ocispec.Descriptor
	diffID  digest.Digest
	history string // the command that made it
}

// A snapshot is the files of an image so far. It never changes.
type snapshot struct {
	store  *images.Store
	layers []layer // bottom first
}

// with gives a snapshot with one more layer on top.
func (s *snapshot) with(l layer) *snapshot {
	return &snapshot{s.store, append(slices.Clip(s.layers), l)}
}

// chain names the files by their contents: the chain ID of image-spec config.md,
// "" of no layers.
func (s *snapshot) chain() digest.Digest {
	all := s.chains()
	if len(all) == 0 {
		return ""
	}
	return digest.Digest(all[len(all)-1])
}

// chains gives the chain ID of each layer with those below it.
func (s *snapshot) chains() []string {
	all := make([]string, len(s.layers))
	for i, l := range s.layers {
		all[i] = l.diffID.String()
		if i > 0 {
			all[i] = digest.FromString(all[i-1] + " " + all[i]).String()
		}
	}
	return all
}

// An openSnapshot is a snapshot whose files can be read.
type openSnapshot struct {
	*overlay.Image
	layers []overlay.Layer
	blobs  []io.Closer
}

// open opens the files, which takes as long as merging the layers if nobody has
// done that before.
func (s *snapshot) open(ctx context.Context) (_ *openSnapshot, err error) {
	o := &openSnapshot{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.closeBlobs())
		}
	}()
	layers := make([]overlay.Layer, len(s.layers))
	for i, l := range s.layers {
		src, err := transport.OpenBlob(s.store.BlobPath(l.Digest), l.Digest)
		if err != nil {
			return nil, err
		}
		o.blobs = append(o.blobs, src)
		layers[i] = overlay.Layer{History: l.history, Spec: l.spec(src)}
	}
	o.layers = layers
	o.Image, err = overlay.OpenImage(ctx, s.store.Layers(), layers, overlay.Options{})
	return o, err
}

func (l *layer) spec(src blob.Source) layerstore.Spec {
	return layerstore.Spec{Blob: src, Digest: l.Digest.String(), DiffID: l.diffID.String(), Annotations: l.Annotations}
}

func (o *openSnapshot) closeBlobs() error {
	var err error
	for _, b := range o.blobs {
		err = errors.Join(err, b.Close())
	}
	return err
}

// Close lets go of all that is open.
func (o *openSnapshot) Close() error { return errors.Join(o.Image.Close(), o.closeBlobs()) }

// A built is an image as far as it has come: files and config.
type built struct {
	*snapshot
	config v1.DockerOCIImage // with its history
}

// add notes a step in the history. l is nil where it made no layer.
func (b *built) add(createdBy, comment string, created *time.Time, l *layer) {
	b.config.Created = created
	b.config.History = append(slices.Clip(b.config.History), ocispec.History{
		Created: created, CreatedBy: createdBy, Comment: comment, EmptyLayer: l == nil,
	})
	if l != nil {
		b.snapshot = b.snapshot.with(*l)
	}
}
