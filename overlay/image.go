package overlay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"mica/layerstore"
	"mica/layerstore/blob"
)

// CacheSize is how many bytes of decoded spans an image keeps in memory. What
// the kernel's page cache has is never asked for again.
const CacheSize = 48 << 20

// An Image is the View of an image's layers, with all that it needs open.
type Image struct {
	*View
	store  *layerstore.Store
	specs  []Layer
	layers []*layerstore.Layer
	proof  *proof // nil: all was verified before it was opened
}

// A Layer says where a layer's bytes are, and what is known of it.
type Layer struct {
	layerstore.Spec
	History string // the command that made it; "" is unknown
}

// Options say how an image is opened.
type Options struct {
	// Defer lets an image of long uncompressed layers be opened before they
	// were hashed. Reads of contents then wait for that, and fail with a
	// *blob.DataError if a layer is not what the image says.
	Defer bool
	// Alone shows the topmost layer by itself; see MergeAlone.
	Alone bool
	// Passing says that another process will read the image: of a tree that is
	// there only as much is checked as tells what it is of. The rest, 6 ms for a
	// million files, is for who reads it, and who makes it anew if need be.
	Passing bool
}

// OpenImage gives the merged view of layers, bottom first. What the store
// lacks is made: the index of each layer, several at once, and the tree. The
// blobs stay the caller's and must be there as long as the image is used.
func OpenImage(ctx context.Context, store *layerstore.Store, layers []Layer, o Options) (*Image, error) {
	img := &Image{store: store, specs: layers}
	tree, err := openTreeOf(ctx, store, layers, o, img)
	if err != nil {
		return nil, err
	}
	cache := blob.NewCache(CacheSize)
	readers := make([]LayerReader, len(layers))
	for i, l := range layers {
		layer := store.Layer(l.Spec, cache)
		img.layers = append(img.layers, layer)
		readers[i] = layer
		if img.proof != nil {
			readers[i] = &proven{layer, l.Blob, img.proof}
		}
	}
	if img.View, err = NewView(tree, readers); err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return img, nil
}

func openTreeOf(ctx context.Context, store *layerstore.Store, layers []Layer, o Options, img *Image) (tree *Tree, err error) {
	key := chainKey(layers, o.Alone)
	if tree, err = openTreeFor(store.TreePath(key), key, layers, !o.Passing); err == nil {
		return tree, nil
	}
	if o.Defer && !o.Alone && canDefer(store, layers) {
		tree, img.proof, err = openDeferred(ctx, store, layers)
		return tree, err
	}
	return ensureTree(ctx, store, layers, o.Alone)
}

// Verified waits until all that a deferred image promises is proven.
func (img *Image) Verified(ctx context.Context) error {
	if img.proof == nil {
		return nil
	}
	return img.proof.wait(ctx)
}

// Proven reports whether that is so already.
func (img *Image) Proven() bool {
	if img.proof == nil {
		return true
	}
	select {
	case <-img.proof.done:
		return true
	default:
		return false
	}
}

// Close lets go of all that the image has open. Nothing of it may be used
// after that.
func (img *Image) Close() error {
	if img.proof != nil {
		img.proof.close()
	}
	errs := []error{img.Tree.Close()}
	for _, l := range img.layers {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// ensureTree opens the tree of a chain of layers, or of its topmost layer
// alone, made first if need be.
func ensureTree(ctx context.Context, store *layerstore.Store, layers []Layer, alone bool) (*Tree, error) {
	key := chainKey(layers, alone)
	path := store.TreePath(key)
	var tree *Tree
	err := store.Make(ctx, path, func() (err error) {
		tree, err = openTreeFor(path, key, layers, true)
		return err
	}, func(f *os.File) error { return writeTreeOf(ctx, store, key, layers, alone, f) })
	return tree, err
}

// openTreeFor is OpenTree for a tree of as many layers; whole is as for readTree.
func openTreeFor(path, key string, layers []Layer, whole bool) (*Tree, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tree, err := readTree(f, key, whole)
	if err == nil && len(tree.Layers()) != len(layers) {
		err = errors.Join(tree.bad("of another number of layers"), tree.Close())
	}
	return tree, err
}

// chainKey names a chain of layers: by what is promised of them, so that a
// tree is never taken for that of an image that promises something else.
func chainKey(layers []Layer, alone bool) string {
	h := sha256.New()
	if alone {
		fmt.Fprintln(h, "the last alone")
	}
	for _, l := range layers {
		fmt.Fprintf(h, "%q %q %q %q\n", l.Key(), l.Digest, l.DiffID, l.History)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func writeTreeOf(ctx context.Context, store *layerstore.Store, key string, layers []Layer, alone bool, f *os.File) error {
	if err := indexAll(ctx, store, layers); err != nil {
		return err
	}
	sources := make([]LayerSource, len(layers))
	infos := make([]LayerInfo, len(layers))
	for i, l := range layers {
		ix, err := store.OpenIndex(l.Spec)
		if err != nil {
			return &LayerError{i, err}
		}
		defer ix.Close()
		info := ix.Info()
		sources[i] = ix
		infos[i] = LayerInfo{Digest: info.Digest, DiffID: info.DiffID, Size: info.BlobSize, History: l.History}
	}
	if alone {
		return MergeAlone(ctx, f, key, sources, len(sources)-1, infos)
	}
	return Merge(ctx, f, key, sources, infos)
}

// indexAll makes the indexes that are missing, a few layers side by side. The
// error is that of the lowest layer that has one, if it is not only a
// consequence of another's.
func indexAll(ctx context.Context, store *layerstore.Store, layers []Layer) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range layers {
		g.Go(func() error {
			if err := store.EnsureIndex(ctx, l.Spec); err != nil {
				return &LayerError{i, err}
			}
			return nil
		})
	}
	return g.Wait()
}
