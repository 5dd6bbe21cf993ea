package overlay

import (
	"encoding/binary"
	"sort"

	"golang.org/x/sys/unix"
)

// A fileData tells where the bytes of a regular file lie.
type fileData struct {
	tree    *Tree
	layer   int
	off     int64 // where its data begins in the layer, if it is not sparse
	size    int64 // as a program sees it
	sparse  bool
	first   uint64 // of a sparse file: the number of its first extent
	extents int    // and how many, rising
}

// near is how many numbers NextFile looks at: directories without files, and
// links, may lie between two files.
const near = 64

// NextFile gives the first regular file above a number that has contents, and
// how many bytes. It is 0 if there is none near. The files of a directory have
// numbers that rise as their names do, but for those with several names.
func (t *Tree) NextFile(id NodeID) (next NodeID, size int64) {
	for next = id + 1; next <= id+near; next++ {
		n, m, err := t.inode(next)
		if err != nil {
			break
		}
		if m.mode&unix.S_IFMT == unix.S_IFREG && n.size > 0 {
			return next, int64(n.size)
		}
	}
	return 0, 0
}

// An extent is a run of data in a sparse file.
type extent struct{ off, len, layerOff int64 }

func (t *Tree) fileData(id NodeID) (fileData, error) {
	n, m, err := t.inode(id)
	if err != nil {
		return fileData{}, err
	}
	if m.mode&unix.S_IFMT != unix.S_IFREG {
		return fileData{}, unix.EINVAL
	}
	return t.inodeData(n)
}

func (t *Tree) inodeData(n inode) (fileData, error) {
	d := fileData{tree: t, layer: n.layer(), off: int64(n.data()), size: int64(n.size)}
	if d.layer >= len(t.layers) || d.size < 0 {
		return d, t.bad("file data out of range")
	}
	if !n.sparse() {
		return d, nil
	}
	rec, err := t.take(secSparse, n.data()*sparseLen, sparseLen, "sparse record")
	if err != nil {
		return d, err
	}
	le := binary.LittleEndian
	d.sparse, d.first, d.extents = true, uint64(le.Uint32(rec)), int(le.Uint32(rec[4:]))
	if (d.first+uint64(d.extents))*extentLen > t.sections[secExtents].len() {
		return d, t.bad("extents out of range")
	}
	return d, nil
}

func (d *fileData) extent(i int) (extent, error) {
	b, err := d.tree.take(secExtents, (d.first+uint64(i))*extentLen, extentLen, "extent")
	if err != nil {
		return extent{}, err
	}
	le := binary.LittleEndian
	x := extent{off: int64(le.Uint64(b)), len: int64(le.Uint64(b[8:])), layerOff: int64(le.Uint64(b[16:]))}
	if x.off < 0 || x.len < 0 || x.layerOff < 0 || x.len > d.size-x.off {
		return x, d.tree.bad("extent of bytes that the file has not")
	}
	return x, nil
}

// dataLen is how many bytes of a sparse file are no hole.
func (t *Tree) dataLen(n inode) (int64, error) {
	d, err := t.inodeData(n)
	if err != nil {
		return 0, err
	}
	var sum int64
	for i := range d.extents {
		x, err := d.extent(i)
		if err != nil {
			return 0, err
		}
		sum += x.len
	}
	return sum, nil
}

// each cuts the n bytes of the file from off on into runs of data and holes,
// in order, and calls do for each; n is at least 0, and the bytes lie within
// the file. layerOff is where the data lies in the layer, -1 for a hole.
func (d *fileData) each(off, n int64, do func(layerOff, length int64) error) error {
	end := off + n
	if !d.sparse {
		if n == 0 {
			return nil
		}
		return do(d.off+off, n)
	}
	var failed error
	first := sort.Search(d.extents, func(i int) bool {
		x, err := d.extent(i)
		if err != nil {
			failed = err
		}
		return x.off+x.len > off
	})
	if failed != nil {
		return failed
	}
	for i := first; i < d.extents && off < end; i++ {
		x, err := d.extent(i)
		if err != nil {
			return err
		}
		if x.off+x.len < off {
			return d.tree.bad("extents out of order")
		}
		if x.off > off {
			hole := min(x.off, end) - off
			if err := do(-1, hole); err != nil {
				return err
			}
			off += hole
		}
		if stop := min(x.off+x.len, end); off < stop {
			if err := do(x.layerOff+off-x.off, stop-off); err != nil {
				return err
			}
			off = stop
		}
	}
	if off < end {
		return do(-1, end-off)
	}
	return nil
}
