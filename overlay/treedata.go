package overlay

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A fileData tells where the bytes of a regular file lie.
type fileData struct {
	layer   int
	off     int64  // where its data begins in the layer
	size    int64  // as a program sees it
	sparse  bool   // extents say what of it is data; else all is
	extents []byte // extentLen each
}

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
	d := fileData{layer: int(n.layer &^ sparseFlag), off: int64(n.data), size: int64(n.size)}
	if d.layer >= len(t.layers) {
		return d, t.bad("layer out of range")
	}
	if n.layer&sparseFlag == 0 {
		return d, nil
	}
	rec, all := t.sections[secSparse], t.sections[secExtents]
	if n.data*sparseLen >= uint64(len(rec)) {
		return d, t.bad("sparse record out of range")
	}
	rec = rec[n.data*sparseLen:]
	le := binary.LittleEndian
	first, count := uint64(le.Uint32(rec[8:])), uint64(le.Uint32(rec[12:]))
	if (first+count)*extentLen > uint64(len(all)) {
		return d, t.bad("extents out of range")
	}
	d.off, d.sparse, d.extents = int64(le.Uint64(rec)), true, all[first*extentLen:(first+count)*extentLen]
	return d, nil
}

func (d *fileData) extent(i int) toc.Extent {
	le := binary.LittleEndian
	b := d.extents[i*extentLen:]
	return toc.Extent{Off: int64(le.Uint64(b)), Len: int64(le.Uint64(b[8:]))}
}

func (d *fileData) count() int { return len(d.extents) / extentLen }

// dataLen is how many bytes of a sparse file are no hole.
func (t *Tree) dataLen(n inode) (int64, error) {
	d, err := t.inodeData(n)
	if err != nil {
		return 0, err
	}
	var sum int64
	for i := range d.count() {
		sum += d.extent(i).Len
	}
	return sum, nil
}
