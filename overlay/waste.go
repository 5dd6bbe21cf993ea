package overlay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Waste is what of the layers' contents an image could do without. Sizes are
// in bytes, unpacked, and of contents alone: holes, names and metadata are not
// counted.
type Waste struct {
	Size       int64           // of the contents of all files in all layers
	Hidden     []HiddenVersion // the largest first
	Duplicates []Duplicate     // those that waste most first
}

// A HiddenVersion is a file of a layer that the image does not show.
type HiddenVersion struct {
	Path  string
	Size  int64
	Layer int // that has it, from 0 at the bottom
	By    int // layer that took it away: a later one, or the same where a tar has a path twice
	// Deleted says that nothing took its place in that layer.
	Deleted bool
	// Top is what was taken away: the path itself or a directory above it.
	Top string
}

// A Duplicate is contents that several files of the image have.
type Duplicate struct {
	Size   int64 // of one of them
	Copies []Copy
}

// A Copy is one of several files with the same contents. Its further names, if
// it has hard links, are left out.
type Copy struct {
	Path  string
	Layer int // from 0 at the bottom
}

// Wasted is how many bytes one copy would save.
func (d *Duplicate) Wasted() int64 { return d.Size * int64(len(d.Copies)-1) }

// Waste finds what of the image's layers it does not show, for which no
// contents are read, and which of the files that it shows have the same
// contents: [View.Duplicates].
func (img *Image) Waste(ctx context.Context, progress Progress) (*Waste, error) {
	indexes, err := openIndexes(ctx, img.store, img.specs)
	if err != nil {
		return nil, err
	}
	w, err := hiddenWaste(indexes.sources())
	if err := errors.Join(err, indexes.close()); err != nil {
		return nil, err
	}
	w.Duplicates, err = img.View.Duplicates(ctx, progress)
	return w, err
}

// A Progress is told how many bytes are about to be read, and gives what is
// called, from several goroutines, with how many more have been. A nil one is
// told nothing.
type Progress func(total int64) (more func(n int64))

func (p Progress) begin(total int64) func(n int64) {
	if p != nil {
		if more := p(total); more != nil {
			return more
		}
	}
	return func(int64) {}
}

// hiddenWaste merges layers, bottom first, and gives all of Waste but the
// duplicates.
func hiddenWaste(layers []LayerSource) (waste *Waste, err error) {
	m := newMerger(os.TempDir())
	defer func() { err = errors.Join(err, m.close()) }()
	for i, l := range layers {
		if err := m.apply(i, l); err != nil {
			return nil, &LayerError{Layer: i, Err: err}
		}
	}
	w := &Waste{}
	hidden := m.hiders()
	// The name by which each inode was shown longest; of those still shown, 0.
	last := make([]uint32, len(m.inodes))
	seen := make([]bool, len(m.inodes))
	for d := range m.dents {
		in := m.dents[d].inode
		switch {
		case hidden[d] == 0:
			seen[in], last[in] = true, 0
		case !seen[in] || last[in] != 0 && hidden[d] > hidden[last[in]]:
			seen[in], last[in] = true, uint32(d)
		}
	}
	for in, d := range last {
		size := m.dataSize(uint32(in))
		w.Size += size
		if d == 0 || size == 0 {
			continue
		}
		by := int(hidden[d]) - 1
		top := d
		for p := d; p != m.root; p = m.dents[p].parent {
			if m.dents[p].dead == hidden[d] {
				top = p
			}
		}
		w.Hidden = append(w.Hidden, HiddenVersion{
			Path: m.path(d), Size: size, Layer: m.inodes[in].layer(), By: by,
			Deleted: !m.isFileAfter(by, d), Top: m.path(top),
		})
	}
	slices.SortStableFunc(w.Hidden, func(a, b HiddenVersion) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Layer, b.Layer))
	})
	return w, nil
}

// dataSize is how many bytes of its layer an inode's contents are.
func (m *merger) dataSize(in uint32) (size int64) {
	n := m.inodes[in]
	switch {
	case m.metas.list[n.meta].mode&unix.S_IFMT != unix.S_IFREG:
		return 0
	case !n.sparse():
		return int64(n.size)
	}
	le := binary.LittleEndian
	rec := m.sparse[n.data()*sparseLen:]
	first, count := le.Uint32(rec), le.Uint32(rec[4:])
	for i := range count {
		size += int64(le.Uint64(m.extents[int(first+i)*extentLen+8:]))
	}
	return size
}

// path gives the path of a dent.
func (m *merger) path(d uint32) string {
	var names []string
	for ; d != m.root; d = m.dents[d].parent {
		names = append(names, m.strings.nameAt(m.dents[d].name))
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// isFileAfter says whether there was something but a directory at the path of a
// dent when a layer had been applied.
func (m *merger) isFileAfter(layer int, d uint32) bool {
	at, ok := m.after(layer, d)
	return ok && !m.isDir(at)
}

// after gives the dent that stood at the path of d when a layer had been
// applied.
func (m *merger) after(layer int, d uint32) (uint32, bool) {
	if d == m.root {
		return d, true
	}
	parent, ok := m.after(layer, m.dents[d].parent)
	if !ok {
		return 0, false
	}
	c := m.newest(parent, m.strings.nameAt(m.dents[d].name))
	for c != 0 && (int(m.dents[c].layer) > layer || m.dents[c].dead != 0 && int(m.dents[c].dead)-1 <= layer) {
		c = m.dents[c].older
	}
	return c, c != 0
}

// Duplicates finds files with the same contents, those that waste most first.
// All files are read that share their size with another. Empty ones are no
// duplicates, nor is a file with holes one of a file that has none.
func (v *View) Duplicates(ctx context.Context, progress Progress) ([]Duplicate, error) {
	all, err := v.sameSize()
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for i := range all {
		total += all[i].data
	}
	if err := v.sumAll(ctx, all, progress.begin(total)); err != nil {
		return nil, err
	}
	bySum := map[[sha256.Size]byte][]*candidate{}
	for i := range all {
		bySum[all[i].sum] = append(bySum[all[i].sum], &all[i])
	}
	wanted := map[NodeID]*Duplicate{}
	var found []*Duplicate
	for _, same := range bySum {
		if len(same) < 2 {
			continue
		}
		d := &Duplicate{Size: same[0].data}
		found = append(found, d)
		for _, c := range same {
			wanted[c.id] = d
		}
	}
	err = v.Walk("", Root, func(visit *Visit) error {
		d := wanted[visit.Attr.ID]
		if d == nil {
			return nil
		}
		delete(wanted, visit.Attr.ID)
		layer, err := v.Layer(visit.Attr.ID)
		d.Copies = append(d.Copies, Copy{Path: visit.Path, Layer: layer})
		return err
	})
	duplicates := make([]Duplicate, len(found))
	for i, d := range found {
		duplicates[i] = *d
	}
	slices.SortFunc(duplicates, func(a, b Duplicate) int {
		return cmp.Or(cmp.Compare(b.Wasted(), a.Wasted()), cmp.Compare(a.Copies[0].Path, b.Copies[0].Path))
	})
	return duplicates, err
}

// A candidate is a file that shares its size with another.
type candidate struct {
	id       NodeID
	size     int64 // as a program sees it
	data     int64 // bytes in the layer
	layer    int
	layerOff int64
	sum      [sha256.Size]byte
}

// sameSize gives the regular files whose size is not theirs alone, in the order
// in which they lie in the layers.
func (v *View) sameSize() ([]candidate, error) {
	var all []candidate
	type size struct{ whole, data int64 }
	count := map[size]int{}
	for id := Root; id <= NodeID(v.Inodes()); id++ {
		n, m, err := v.inode(id)
		if err != nil {
			return nil, err
		}
		if m.mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		layer, off, ok, err := v.Place(id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue // nothing is stored of it
		}
		c := candidate{id: id, size: int64(n.size), data: int64(n.size), layer: layer, layerOff: off}
		if n.sparse() {
			if c.data, err = v.dataLen(n); err != nil {
				return nil, err
			}
		}
		count[size{c.size, c.data}]++
		all = append(all, c)
	}
	all = slices.DeleteFunc(all, func(c candidate) bool { return count[size{c.size, c.data}] < 2 })
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.layerOff, b.layerOff))
	})
	return all, nil
}

// sumAll hashes the candidates, several at once.
func (v *View) sumAll(ctx context.Context, all []candidate, more func(n int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		g.Go(func() error {
			buf := make([]byte, copyLen)
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				c := &all[i]
				if err := v.sum(ctx, c, buf); err != nil {
					return err
				}
				more(c.data)
			}
			return nil
		})
	}
	return g.Wait()
}

// sum hashes the contents of a candidate. Holes, which may be longer than
// anybody can wait for, are not read: their lengths and those of the data
// between are hashed too.
func (v *View) sum(ctx context.Context, c *candidate, buf []byte) error {
	d, err := v.fileData(c.id)
	if err != nil {
		return err
	}
	hash := sha256.New()
	off := int64(0)
	err = d.each(0, d.size, func(layerOff, length int64) error {
		from := off
		off += length
		if d.sparse {
			binary.Write(hash, binary.LittleEndian, [2]int64{layerOff >> 63, length}) // -1 is a hole
		}
		if layerOff < 0 {
			return nil
		}
		_, err := v.writeRange(ctx, hash, c.id, from, length, buf)
		return err
	})
	hash.Sum(c.sum[:0])
	return err
}
