package commit

import (
	"context"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore"
	"mica/layerstore/images"
	"mica/layerstore/transport"
	"mica/overlay/change"
)

// A Base is an image, or the lower layers of one.
type Base struct {
	Image *transport.Image
	// DiffIDs are those of the layers that count, from the bottom of the image on.
	DiffIDs []digest.Digest
}

// Options say what the new image is like.
type Options struct {
	Names        []string // in full; with none it only stays
	Message      string   // a comment in the history
	Author       string
	CreatedBy    string   // in the history: what has made the change
	Instructions []string // of a Dockerfile: CMD, ENV, … (see Configure)
	Packing      layerstore.Packing
	// Epoch, if not nil, is when the image was made, in place of now, and no time
	// in the layer is after it: SOURCE_DATE_EPOCH.
	Epoch *time.Time
	// Note, if not nil, is told of what a layer cannot have.
	Note func(text string)
	// Progress is that of [images.Store.Bring].
	Progress func(i, n int, size int64) func(int64)
}

// A Result is an image that was made.
type Result struct {
	Manifest, Config ocispec.Descriptor
	Changes          int // that the new layer has; 0 is no layer
}

// Commit makes an image of a base and of a change to it, in a store of images.
func Commit(ctx context.Context, s *images.Store, base Base, changed *change.Tree, o Options) (Result, error) {
	changes := 0
	r, err := Add(ctx, s, base, func(w io.Writer) (_ bool, err error) {
		changes, err = changed.WriteLayer(ctx, w, change.LayerOptions{NotAfter: o.Epoch, Note: o.Note})
		return changes > 0, err
	}, o)
	r.Changes = changes
	return r, err
}

// Add makes an image of a base and of one more layer, the tar that write writes:
// any says whether there is something in it, without which there is no more
// layer, as with nil for write.
func Add(ctx context.Context, s *images.Store, base Base, write func(w io.Writer) (any bool, err error), o Options) (r Result, err error) {
	config, err := newConfig(base, o)
	if err != nil {
		return r, err
	}
	r.Manifest, r.Config, err = s.Derive(ctx, images.Derivation{
		Layers: base.Image.Layers[:len(base.DiffIDs)], DiffIDs: base.DiffIDs, Write: write,
		Packing: o.Packing, Names: o.Names, Progress: o.Progress,
		Config: config.finish,
	})
	return r, err
}
