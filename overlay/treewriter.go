package overlay

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// A LayerInfo is what a tree keeps of each layer of its image.
type LayerInfo struct {
	Digest  string // of the blob as stored, "sha256:…"
	DiffID  string // of the uncompressed layer
	Size    int64  // bytes as stored
	History string // the command that made the layer; "" is unknown
}

// Merge puts layers on each other, bottom first, and writes the tree file of
// the result to f, which is empty and stays the caller's; it is not synced.
// key names the chain of layers; OpenTree asks for it again. infos belong to
// layers one to one. What it needs besides, a few hundred bytes a name, lies in
// files beside f where it is much.
func Merge(ctx context.Context, f *os.File, key string, layers []LayerSource, infos []LayerInfo) (err error) {
	m := newMerger(filepath.Dir(f.Name()))
	defer func() { err = errors.Join(err, m.close()) }()
	for i, l := range layers {
		if err := m.apply(i, interruptible{ctx, l}); err != nil {
			return &LayerError{Layer: i, Err: err}
		}
	}
	return m.write(ctx, f, key, infos)
}

// A LayerError says which layer of an image cannot be used.
type LayerError struct {
	Layer int // from 0, the bottom
	Err   error
}

func (e *LayerError) Error() string { return "layer " + strconv.Itoa(e.Layer+1) + ": " + e.Err.Error() }
func (e *LayerError) Unwrap() error { return e.Err }

// write lays the living names out breadth first: the children of a directory
// side by side in the order of their names, inodes in the order in which they
// are first met.
func (m *merger) write(ctx context.Context, f *os.File, key string, infos []LayerInfo) error {
	w := newTreeWriter(f)
	order, err := m.writeDents(ctx, w)
	if err != nil {
		return err
	}
	w.end(secDents)
	for _, in := range order {
		w.add(m.inodes[in].put(w.row()))
	}
	w.end(secInodes)
	w.section(secStrings, m.strings.data)
	for i := range m.metas.list {
		w.add(m.metas.list[i].put(w.row()))
	}
	w.end(secMetas)
	w.section(secXattrs, m.metas.xattrs)
	w.section(secSparse, m.sparse)
	w.section(secExtents, m.extents)
	w.section(secTimes, m.times)
	w.section(secLayers, putLayers(key, infos))
	return w.finish()
}

// writeDents writes the names, counts links, and gives the inodes in the order
// of their new numbers.
func (m *merger) writeDents(ctx context.Context, w *treeWriter) (order []uint32, err error) {
	number := zeroed[uint32](m.spill, len(m.inodes))    // new number plus one, by old
	order = pushed(m.spill, nil, m.dents[m.root].inode) // old numbers
	number[order[0]] = 1
	m.inodes[order[0]].nlink = 2
	parent := pushed(m.spill, nil, uint32(0)) // by new number; of directories it is what data is
	dirs := pushed(m.spill, nil, m.root)
	var children []uint32
	var dents uint64
	for i := 0; i < len(dirs); i++ {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d := dirs[i]
		dir := m.dents[d].inode
		self := number[dir] - 1
		children = children[:0]
		for c := m.dents[d].child; c != 0; c = m.dents[c].next {
			if m.dents[c].dead == 0 {
				children = pushed(m.spill, children, c)
			}
		}
		slices.SortFunc(children, func(a, b uint32) int { return m.strings.compare(m.dents[a].name, m.dents[b].name) })
		m.inodes[dir].size = dents | uint64(len(children))<<32
		m.inodes[dir].setData(uint64(parent[self]))
		for _, c := range children {
			in := m.dents[c].inode
			if number[in] == 0 {
				order = pushed(m.spill, order, in)
				number[in] = uint32(len(order))
				parent = pushed(m.spill, parent, self)
			}
			if m.isDir(c) {
				dirs = pushed(m.spill, dirs, c)
				m.inodes[in].nlink = 2
				m.inodes[dir].nlink++
			} else {
				m.inodes[in].nlink++
			}
			w.add(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(w.row(), m.dents[c].name), number[in]-1))
		}
		dents += uint64(len(children))
	}
	return order, nil
}

// A treeWriter writes the sections of a tree file one after the other, in the
// order of their table, and the header when all are there. It holds no section
// in memory.
type treeWriter struct {
	f     *os.File
	buf   *bufio.Writer
	err   error // of the first write that failed
	rows  []byte
	table []byte // of the sections that have ended
	off   uint64 // where the current section begins
	n     uint64 // bytes of it so far
	sum   uint32
}

func newTreeWriter(f *os.File) *treeWriter {
	w := &treeWriter{f: f, buf: bufio.NewWriterSize(f, 256<<10), off: treeHeaderLen}
	_, w.err = w.buf.Write(make([]byte, treeHeaderLen))
	return w
}

// row gives an empty slice to put a row into.
func (w *treeWriter) row() []byte { return w.rows[:0] }

// add appends bytes to the current section.
func (w *treeWriter) add(b []byte) {
	w.rows = b
	w.n += uint64(len(b))
	w.sum = crc32.Update(w.sum, castagnoli, b)
	if w.err == nil {
		_, w.err = w.buf.Write(b)
	}
}

// end ends the current section, which is that number of the table.
func (w *treeWriter) end(section int) {
	le := binary.LittleEndian
	if len(w.table) != section*treeSectionLen {
		panic("sections of a tree out of order")
	}
	w.table = le.AppendUint64(w.table, w.off)
	w.table = le.AppendUint64(w.table, w.n)
	w.table = le.AppendUint32(w.table, w.sum)
	w.off, w.n, w.sum = w.off+w.n, 0, 0
}

// section writes a section that is in memory.
func (w *treeWriter) section(section int, b []byte) {
	w.add(b)
	w.rows = nil
	w.end(section)
}

func (w *treeWriter) finish() error {
	if w.err != nil {
		return w.err
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	le := binary.LittleEndian
	h := append(make([]byte, 0, treeHeaderLen), treeMagic...)
	h = le.AppendUint32(h, treeVersion)
	h = le.AppendUint32(h, numSections)
	h = append(h, w.table...)
	h = le.AppendUint32(h, checksum(h))
	_, err := w.f.WriteAt(h, 0)
	return err
}

// putLayers encodes the layers section: the key, a count, then for each layer
// its digest, diffID and history line, each after its length, and its size.
func putLayers(key string, infos []LayerInfo) []byte {
	b := putString(nil, key)
	b = binary.AppendUvarint(b, uint64(len(infos)))
	for _, l := range infos {
		b = putString(putString(putString(b, l.Digest), l.DiffID), l.History)
		b = binary.AppendUvarint(b, uint64(l.Size))
	}
	return b
}

func putString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
