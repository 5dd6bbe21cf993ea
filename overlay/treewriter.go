package overlay

import (
	"encoding/binary"
	"io"
	"os"
	"sort"
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
// layers one to one.
func Merge(f *os.File, key string, layers []LayerSource, infos []LayerInfo) error {
	m := newMerger()
	for i, l := range layers {
		if err := m.apply(i, l); err != nil {
			return &LayerError{Layer: i, Err: err}
		}
	}
	return m.write(f, key, infos)
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
func (m *merger) write(f io.Writer, key string, infos []LayerInfo) error {
	number := make([]uint32, len(m.inodes))  // new number plus one, by old
	order := []uint32{m.dents[m.root].inode} // old numbers
	number[order[0]] = 1
	nlink := []uint32{2}
	parent := []uint32{0}    // of directories, by new number
	dirs := []uint32{m.root} // dents
	var dentries []byte
	var children []uint32
	for i := 0; i < len(dirs); i++ {
		d := dirs[i]
		self := number[m.dents[d].inode] - 1
		children = children[:0]
		for c := m.dents[d].child; c != 0; c = m.dents[c].next {
			if m.dents[c].dead == 0 {
				children = append(children, c)
			}
		}
		sort.Slice(children, func(a, b int) bool {
			return m.strings.less(m.dents[children[a]].name, m.dents[children[b]].name)
		})
		m.inodes[m.dents[d].inode].size = uint64(len(dentries)/dentryLen) | uint64(len(children))<<32
		m.inodes[m.dents[d].inode].data = uint64(parent[self])
		for _, c := range children {
			old := m.dents[c].inode
			if number[old] == 0 {
				order = append(order, old)
				number[old] = uint32(len(order))
				nlink = append(nlink, 0)
				parent = append(parent, self)
			}
			n := number[old] - 1
			if m.isDir(c) {
				dirs = append(dirs, c)
				nlink[n] = 2
				nlink[self]++
			} else {
				nlink[n]++
			}
			dentries = binary.LittleEndian.AppendUint32(dentries, m.dents[c].name)
			dentries = binary.LittleEndian.AppendUint32(dentries, n)
		}
	}
	inodes := make([]byte, 0, len(order)*inodeLen)
	for n, old := range order {
		in := m.inodes[old]
		in.nlink = nlink[n]
		inodes = in.put(inodes)
	}
	var metas []byte
	for i := range m.metas.list {
		metas = m.metas.list[i].put(metas)
	}
	return writeTree(f, [numSections][]byte{
		secInodes: inodes, secDents: dentries, secStrings: m.strings.data, secMetas: metas, secXattrs: m.metas.xattrs,
		secSparse: m.sparse, secExtents: m.extents, secTimes: m.times, secLayers: putLayers(key, infos),
	})
}

func writeTree(f io.Writer, sections [numSections][]byte) error {
	le := binary.LittleEndian
	h := append(make([]byte, 0, treeHeaderLen), treeMagic...)
	h = le.AppendUint32(h, treeVersion)
	h = le.AppendUint32(h, numSections)
	off := uint64(treeHeaderLen)
	for _, s := range sections {
		h = le.AppendUint64(h, off)
		h = le.AppendUint64(h, uint64(len(s)))
		h = le.AppendUint32(h, checksum(s))
		off += uint64(len(s))
	}
	h = le.AppendUint32(h, checksum(h))
	for _, b := range append([][]byte{h}, sections[:]...) {
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return nil
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
