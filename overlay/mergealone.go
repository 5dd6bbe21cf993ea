package overlay

import (
	"context"
	"errors"
	"iter"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// MergeAlone writes the tree of layer number n alone, with its marks as the
// files that they are in the tar (".wh.NAME", ".wh..wh..opq"). Those below are
// needed for what its hard links refer to. All else is as with Merge.
func MergeAlone(ctx context.Context, f *os.File, key string, layers []LayerSource, n int, infos []LayerInfo) (err error) {
	m := newMerger(filepath.Dir(f.Name()))
	defer func() { err = errors.Join(err, m.close()) }()
	for i, l := range layers[:n] {
		if err := m.apply(i, interruptible{ctx, l}); err != nil {
			return &LayerError{Layer: i, Err: err}
		}
	}
	if err := m.applyAlone(n, interruptible{ctx, layers[n]}); err != nil {
		return &LayerError{Layer: n, Err: err}
	}
	return m.write(ctx, f, key, infos)
}

// applyAlone puts a layer on nothing: on a second root beside the one that has
// the layers below.
func (m *merger) applyAlone(layer int, src LayerSource) error {
	m.root = uint32(len(m.dents))
	m.dents = pushed(m.spill, m.dents, dent{parent: m.root, inode: uint32(len(m.inodes))})
	m.inodes = pushed(m.spill, m.inodes, inode{meta: m.metas.id(meta{mode: unix.S_IFDIR | 0o755}), at: atLayer(layer)})
	return m.apply(layer, marksAsFiles{src})
}

// resolveBelow is resolve in the layers below one that is applied alone.
func (m *merger) resolveBelow(path string) (uint32, bool) {
	alone := m.root
	m.root = 0
	defer func() { m.root = alone }()
	return m.resolve(path)
}

// marksAsFiles is a layer whose marks hide nothing and are seen.
type marksAsFiles struct{ src LayerSource }

func (s marksAsFiles) Markers() iter.Seq2[*toc.Entry, error] {
	return func(func(*toc.Entry, error) bool) {}
}

func (s marksAsFiles) Entries() iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		for e, err := range s.src.Entries() {
			if !yield(e, err) {
				return
			}
		}
		for e, err := range s.src.Markers() {
			if err != nil {
				yield(nil, err)
				return
			}
			mark := *e
			mark.Type, mark.Path = toc.Regular, toc.MarkerPath(e)
			// A name of 255 bytes has no room for the prefix: such a whiteout
			// was a device in the tar (0:0), and is not shown.
			if len(path.Base(mark.Path)) <= 255 && !yield(&mark, nil) {
				return
			}
		}
	}
}
