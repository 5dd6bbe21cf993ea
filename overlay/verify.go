package overlay

import (
	"context"
	"errors"
	iofs "io/fs"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/blob"
)

// A Verdict is what [Verify] has found.
type Verdict struct {
	Layers []LayerVerdict // bottom first
	// Tree says how the merged tree was found; Absent if it is not there and
	// cannot be made either.
	Tree CacheState
	// TreeErr says why it cannot be made, beyond what is wrong with layers.
	TreeErr error
	// Lost are the files of the merged view that cannot be read in full, in the
	// order of a walk; each of their names.
	Lost []LostFile
}

// A LostFile is one that has bytes in a damaged part of a layer.
type LostFile struct {
	Path  string // clean, without a slash at the front
	Layer int    // from 0 at the bottom
}

// Sound says whether nothing is wrong, or what was has been mended.
func (v *Verdict) Sound() bool {
	for i := range v.Layers {
		if !v.Layers[i].Sound() {
			return false
		}
	}
	return v.TreeErr == nil && v.Tree != Absent
}

// A CacheState says how a file of the store was found.
type CacheState uint8

const (
	Absent CacheState = iota // is not there, and could not be made
	Found                    // sound
	Made                     // was not there, and has been made
	Remade                   // was damaged or did not fit, and has been made again
)

func (s CacheState) String() string {
	return [...]string{"absent", "sound", "made", "made again"}[s]
}

// An unplaced blob does not say where it lies, so that the store asks for no
// proof of it.
type unplaced struct{ blob.Source }

// VerifyOptions say how an image is verified.
type VerifyOptions struct {
	// Quick leaves out decoding: blobs are read once, for their digests.
	Quick bool
	// Layer, if not nil, is told of each layer before it is read, and gives what
	// is told of the bytes read of its blob.
	Layer func(layer int, size int64) (more func(n int64))
}

// Verify reads all of an image, layers bottom first, and compares it with all
// that was promised of it: each blob with its digest and diffID, each block of
// each span, decoded from its own checkpoint, with its checksum, index and
// tree files with theirs. Files of the store that are damaged are made again.
//
// What is wrong with the image is in the verdict; the error is of a cancelled
// context or a store that cannot be used.
func Verify(ctx context.Context, store *layerstore.Store, layers []Layer, o VerifyOptions) (*Verdict, error) {
	// A blob that is not what it was is just what is looked for, and refused
	// elsewhere for the place where it lies.
	layers = slices.Clone(layers)
	for i := range layers {
		layers[i].Blob = unplaced{layers[i].Blob}
	}
	v := &Verdict{Layers: make([]LayerVerdict, len(layers))}
	first := map[string]int{} // an image may have a layer twice
	for i, l := range layers {
		if same, ok := first[l.Key()]; ok && l.Digest == layers[same].Digest && l.DiffID == layers[same].DiffID {
			v.Layers[i] = v.Layers[same]
			continue
		}
		first[l.Key()] = i
		var more func(n int64)
		if o.Layer != nil {
			more = o.Layer(i, l.Blob.Size())
		}
		if more == nil {
			more = func(int64) {}
		}
		check := layerCheck{store: store, spec: l.Spec, quick: o.Quick, more: more}
		if err := check.run(ctx); err != nil {
			return nil, &LayerError{i, err}
		}
		v.Layers[i] = check.verdict
	}
	tree, err := v.verifyTree(ctx, store, layers)
	if err != nil || tree == nil {
		return v, err
	}
	err = v.findLost(tree)
	return v, errors.Join(err, tree.Close())
}

// verifyTree checks the tree file of the layers, and makes it if need be and
// if their indexes are there. It gives nil for a tree that is not to be had.
func (v *Verdict) verifyTree(ctx context.Context, store *layerstore.Store, layers []Layer) (*Tree, error) {
	key := chainKey(layers, false)
	tree, err := OpenTree(store.TreePath(key), key)
	v.Tree = Found
	if err == nil {
		if err = tree.Check(); err != nil {
			err = errors.Join(err, tree.Close())
		}
	}
	switch {
	case err == nil:
		return tree, nil
	case errors.Is(err, iofs.ErrNotExist):
		v.Tree = Made
	default:
		v.Tree = Remade
		// So that it is not taken for sound by whoever looks at checksums alone.
		if err := os.Remove(store.TreePath(key)); err != nil {
			return nil, err
		}
	}
	for i := range v.Layers {
		if v.Layers[i].Index == Absent {
			v.Tree = Absent
			return nil, nil
		}
	}
	tree, err = ensureTree(ctx, store, layers, false)
	if err == nil || ctx.Err() != nil || errors.As(err, new(*iofs.PathError)) {
		return tree, err
	}
	v.Tree, v.TreeErr = Absent, err
	return nil, nil
}

// findLost finds the files that have bytes in what is damaged.
func (v *Verdict) findLost(tree *Tree) error {
	damaged := false
	for i := range v.Layers {
		damaged = damaged || v.Layers[i].loses(0, math.MaxInt64)
	}
	if !damaged {
		return nil
	}
	return tree.Walk("", Root, func(visit *Visit) error {
		if visit.Attr.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil
		}
		d, err := tree.fileData(visit.Attr.ID)
		if err != nil {
			return err
		}
		lost := false
		err = d.each(0, d.size, func(layerOff, length int64) error {
			lost = lost || layerOff >= 0 && v.Layers[d.layer].loses(layerOff, layerOff+length)
			return nil
		})
		if lost {
			v.Lost = append(v.Lost, LostFile{visit.Path, d.layer})
		}
		return err
	})
}
