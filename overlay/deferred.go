package overlay

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"iter"
	"os"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A layer that is not compressed needs no decoding to be listed: only its
// headers are read, 80 ms for an archive of 1.7 GB, while hashing it takes
// seconds. So its tree can be there first and the proof later: contents are
// handed out only when all layers were found to be what the image says.

// deferFrom is how many bytes there must be to hash before that is worth it.
const deferFrom = 64 << 20

// canDefer says whether the layers that have no index yet are all plain, are
// promised a digest that a proof can be of, and long enough.
func canDefer(store *layerstore.Store, layers []Layer) bool {
	var size int64
	for _, l := range layers {
		if store.HasIndex(l.Spec) {
			continue
		}
		head := make([]byte, blob.SniffLen)
		n, err := l.Blob.ReadAt(head, 0)
		if err != nil && err != io.EOF || blob.Sniff(head[:n]) != blob.None || l.Digest == "" && l.DiffID == "" || layerstore.Place(l.Blob) == "" {
			return false
		}
		size += l.Blob.Size()
	}
	return size >= deferFrom
}

// A proof is the work of making sure that an unverified tree is right.
type proof struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// openDeferred gives the tree of layers whose contents are being verified. The
// tree is kept until they are, by the places of the blobs and not only by what
// is promised of them: what is not proven is for these very files.
func openDeferred(ctx context.Context, store *layerstore.Store, layers []Layer) (*Tree, *proof, error) {
	key := chainKey(layers, false)
	name := "unproven " + key
	for _, l := range layers {
		name += " " + layerstore.Place(l.Blob)
	}
	path := store.TreePath(name)
	var tree *Tree
	err := store.Make(ctx, path, func() (err error) {
		tree, err = openTreeFor(path, key, layers, true)
		return err
	}, func(f *os.File) error { return mergeUnverified(ctx, store, key, layers, f) })
	if errors.Is(err, iofs.ErrNotExist) {
		// Another process has proven it in this moment.
		tree, err = ensureTree(ctx, store, layers, false)
		return tree, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	// Not bound to ctx, which may end when the image is open.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &proof{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if p.err = p.run(ctx, store, layers, tree); p.err == nil {
			// Others that have it open go on with it; it is the same as the other.
			_ = os.Remove(path)
		}
	}()
	return tree, p, nil
}

func mergeUnverified(ctx context.Context, store *layerstore.Store, key string, layers []Layer, f *os.File) error {
	sources := make([]LayerSource, len(layers))
	infos := make([]LayerInfo, len(layers))
	for i, l := range layers {
		digest := l.Digest
		if digest == "" {
			digest = l.DiffID
		}
		infos[i] = LayerInfo{Digest: digest, DiffID: l.DiffID, Size: l.Blob.Size(), History: l.History}
		sources[i] = headers{l.Blob}
		if store.HasIndex(l.Spec) {
			ix, err := store.OpenIndex(l.Spec)
			if err != nil {
				return &LayerError{i, err}
			}
			defer ix.Close()
			sources[i] = ix
		}
	}
	return Merge(ctx, f, key, sources, infos)
}

// run indexes the layers, which checks their digests, and compares what comes
// of it with the tree that is already shown.
func (p *proof) run(ctx context.Context, store *layerstore.Store, layers []Layer, shown *Tree) error {
	proven, err := ensureTree(ctx, store, layers, false)
	if err != nil {
		return err
	}
	defer proven.Close()
	for i := range secLayers {
		if !bytes.Equal(proven.sections[i].data, shown.sections[i].data) {
			return errors.New("the archive changed while it was read")
		}
	}
	return nil
}

// wait returns when the proof is there, with nil if it holds.
func (p *proof) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *proof) holds() bool {
	select {
	case <-p.done:
		return p.err == nil
	default:
		return false
	}
}

// close ends the work and waits for that.
func (p *proof) close() {
	p.cancel()
	<-p.done
}

// A proven reader hands out nothing before the proof.
type proven struct {
	*layerstore.Layer
	blob  blob.Source
	proof *proof
}

func (r *proven) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	if err := r.proof.wait(ctx); err != nil {
		if ctx.Err() != nil {
			return 0, err
		}
		return 0, &blob.DataError{Blob: r.blob.ID(), Offset: off, Err: err}
	}
	return r.Layer.ReadAt(ctx, b, off)
}

func (r *proven) Cached(off int64, n int) bool { return r.proof.holds() && r.Layer.Cached(off, n) }

// headers is the LayerSource of a plain layer without an index: each sequence
// is a walk over the headers of its tar.
type headers struct{ blob blob.Source }

func (h headers) Markers() iter.Seq2[*toc.Entry, error] { return h.scan(true) }
func (h headers) Entries() iter.Seq2[*toc.Entry, error] { return h.scan(false) }

// errEnough ends a scan whose reader wants no more.
var errEnough = errors.New("enough")

func (h headers) scan(markers bool) iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		_, err := toc.Scan(toc.NewReaderAtSource(h.blob, h.blob.Size()), func(e *toc.Entry) error {
			if e.Marker() == markers && !yield(e, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough {
			yield(nil, err)
		}
	}
}
