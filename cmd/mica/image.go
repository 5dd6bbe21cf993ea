package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/toc"
	"mica/layerstore/transport"
	"mica/overlay"
)

// imageFlags are those of every command that takes an IMAGE.
type imageFlags struct {
	root     string
	platform string
	progress choice
	part     part   // which of its layers are looked at
	deferred bool   // contents may be verified after the image is open
	passing  bool   // another process will read the image
	pull     choice // when an image by name is fetched
	registry registryFlags
}

func (f *imageFlags) add(flags *pflag.FlagSet) {
	f.addRoot(flags)
	f.addPlatform(flags)
	f.addPull(flags)
	f.addProgress(flags)
}

func (f *imageFlags) addProgress(flags *pflag.FlagSet) {
	addChoice(flags, &f.progress, "progress", "how what takes a while is shown", "auto", "tty", "plain", "json", "none")
}

func (f *imageFlags) addPlatform(flags *pflag.FlagSet) {
	flags.StringVar(&f.platform, "platform", "", "take `OS/ARCH` or OS/ARCH/VARIANT out of an image that has several (default this machine's)")
}

func (f *imageFlags) addRoot(flags *pflag.FlagSet) {
	flags.StringVar(&f.root, "root", "", "keep indexes in `DIR` (default $MICA_ROOT, else /var/lib/mica or ~/.local/share/mica)")
}

// show gives what shows the indexing of an image on w.
func (f *imageFlags) show(w io.Writer) *progress { return newProgress(w, f.progress.word) }

// showUnless is show, but shows nothing to who wants quiet.
func (f *imageFlags) showUnless(quiet bool, w io.Writer) *progress {
	if quiet {
		return newProgress(w, "none")
	}
	return f.show(w)
}

func (f *imageFlags) store() (*layerstore.Store, error) {
	root, err := filepath.Abs(f.root)
	if f.root == "" {
		root, err = layerstore.DefaultRoot()
	}
	if err != nil {
		return nil, err
	}
	return layerstore.Open(root), nil
}

// An openImage is an IMAGE argument, resolved and ready to be read.
type openImage struct {
	*overlay.Image
	meta  *transport.Image
	store *layerstore.Store
}

// open resolves an IMAGE and makes what the store lacks of it, which show, if
// not nil, shows.
func (f *imageFlags) open(ctx context.Context, ref string, show *progress) (*openImage, error) {
	defer show.done()
	store, err := f.store()
	if err != nil {
		return nil, err
	}
	meta, err := f.resolve(ctx, store, ref, show)
	if err != nil {
		return nil, err
	}
	layers, alone, err := f.part.of(layersOf(meta, store, show))
	if err != nil {
		meta.Close()
		return nil, &argError{ref, err}
	}
	// In an archive that is compressed as a whole nothing can be looked at
	// without decoding, which is also when it is verified.
	img, err := overlay.OpenImage(ctx, store, layers, overlay.Options{Defer: f.deferred && !meta.Expanded, Alone: alone, Passing: f.passing})
	if err != nil {
		meta.Close()
		return nil, &argError{ref, storeError(store, err)}
	}
	return &openImage{Image: img, meta: meta, store: store}, nil
}

// resolve finds an IMAGE without looking at its layers.
func (f *imageFlags) resolve(ctx context.Context, store *layerstore.Store, ref string, show *progress) (*transport.Image, error) {
	meta, err := f.openNamed(ctx, store, ref, show)
	if err != nil {
		return nil, &argError{ref, storeError(store, err)}
	}
	return meta, nil
}

func (f *imageFlags) transportOptions(store *layerstore.Store, show *progress) transport.Options {
	return transport.Options{Platform: f.platform, Expand: func(ctx context.Context, src blob.Source) (blob.Source, error) {
		return store.Expand(ctx, src, missing(store, src.ID(), src.Size(), "archive", show))
	}}
}

// layersOf gives the layers of an image as package overlay wants them.
func layersOf(meta *transport.Image, store *layerstore.Store, show *progress) []overlay.Layer {
	layers := make([]overlay.Layer, len(meta.Layers))
	seen := make(map[string]bool) // blobs, which an image may have twice
	for i, l := range meta.Layers {
		layers[i] = overlay.Layer{History: l.History, Spec: layerstore.Spec{
			Blob: l.Blob, Digest: l.Digest.String(), DiffID: l.DiffID.String(), Annotations: l.Annotations,
		}}
		if id := l.Blob.ID(); !seen[id] {
			seen[id] = true
			layers[i].Progress = missing(store, layers[i].Key(), l.Blob.Size(), fmt.Sprintf("layer %d/%d", i+1, len(layers)), show)
		}
	}
	return layers
}

// missing has a blob that is not indexed yet shown by that name.
func missing(store *layerstore.Store, key string, size int64, name string, show *progress) func(n int64) {
	if _, err := os.Stat(store.IndexPath(key)); err == nil {
		return nil
	}
	return show.layer(name, size)
}

// storeError says of a full disk that it is the store's, and of a file of the
// store that may not be opened whose the store is.
func storeError(store *layerstore.Store, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &spaceError{store.Root(), err, storeFullHint}
	}
	var at *iofs.PathError
	var st unix.Stat_t
	if errors.Is(err, iofs.ErrPermission) && errors.As(err, &at) && inside(at.Path, store.Root()) &&
		unix.Stat(store.Root(), &st) == nil && int(st.Uid) != os.Geteuid() {
		return &layerstore.NotOursError{Root: store.Root(), Owner: st.Uid, Err: err}
	}
	return err
}

// infos gives what the index of each layer says of it as a whole.
func (img *openImage) infos(ctx context.Context) ([]toc.Info, error) {
	infos := make([]toc.Info, len(img.meta.Layers))
	for i, l := range layersOf(img.meta, img.store, nil) {
		// The tree may be there without them.
		if err := img.store.EnsureIndex(ctx, l.Spec); err != nil {
			return nil, &overlay.LayerError{Layer: i, Err: err}
		}
		ix, err := img.store.OpenIndex(l.Spec)
		if err != nil {
			return nil, &overlay.LayerError{Layer: i, Err: err}
		}
		infos[i] = ix.Info()
		if err := ix.Close(); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// shortDigest gives the first twelve digits, as docker does.
func shortDigest(d string) string {
	_, hex, ok := strings.Cut(d, ":")
	if !ok || len(hex) < 12 {
		return d
	}
	return hex[:12]
}

func (img *openImage) Close() error { return errors.Join(img.Image.Close(), img.meta.Close()) }
