package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A metaTable keeps each meta and each set of attributes once.
type metaTable struct {
	spill  *spill
	list   []meta
	ids    numbers // of list
	sets   []xattrSet
	setIDs numbers // of sets
	xattrs []byte
}

// An xattrSet is a set of attributes in xattrs.
type xattrSet struct {
	hash uint64
	at   uint32
}

func newMetaTable(p *spill) metaTable {
	return metaTable{spill: p, ids: numbers{spill: p}, setIDs: numbers{spill: p}}
}

func (t *metaTable) id(m meta) uint32 {
	if n := len(t.list); n > 0 && t.list[n-1] == m {
		return uint32(n - 1) // most are as the one before
	}
	hash := func(n uint32) uint64 { return maphash.Comparable(poolSeed, t.list[n]) }
	slot := t.ids.find(maphash.Comparable(poolSeed, m), hash, func(n uint32) bool { return t.list[n] == m })
	if *slot == 0 {
		t.list = pushed(t.spill, t.list, m)
		*slot = uint32(len(t.list))
	}
	return *slot - 1
}

// set keeps a set of attributes: a count, then for each the length of its
// name (one byte), the name, the length of its value (four) and the value.
func (t *metaTable) set(xs []toc.Xattr) (uint32, error) {
	if len(xs) == 0 {
		return 0, nil
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(xs)))
	for _, x := range xs {
		if len(x.Name) > 255 {
			return 0, fmt.Errorf("attribute name of %d bytes", len(x.Name))
		}
		b = append(append(b, byte(len(x.Name))), x.Name...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(x.Value)))
		b = append(b, x.Value...)
	}
	set := xattrSet{hash: maphash.Bytes(poolSeed, b)}
	slot := t.setIDs.find(set.hash, func(n uint32) uint64 { return t.sets[n].hash }, func(n uint32) bool {
		// A set says itself where it ends.
		return t.sets[n].hash == set.hash && bytes.HasPrefix(t.xattrs[t.sets[n].at:], b)
	})
	if *slot == 0 {
		if len(t.xattrs)+len(b) > maxXattrs {
			return 0, toc.OverLimit("more than %d MiB of extended attributes in the image", maxXattrs>>20)
		}
		set.at = uint32(len(t.xattrs))
		t.xattrs = append(grown(t.spill, t.xattrs, len(b)), b...)
		t.sets = pushed(t.spill, t.sets, set)
		*slot = uint32(len(t.sets))
	}
	return t.sets[*slot-1].at + 1, nil
}

// What an image may have. Real ones have a thousandth of it.
const (
	maxXattrs  = 32 << 20 // bytes of extended attributes, each set counted once
	maxExtents = 1 << 20  // of sparse files
	maxNames   = 1 << 25
	maxImplied = 1 << 20  // directories that no entry describes
	maxTargets = 64 << 20 // bytes of symlink targets
)

var fileKind = map[toc.Type]uint32{
	toc.Regular: unix.S_IFREG, toc.Dir: unix.S_IFDIR, toc.Symlink: unix.S_IFLNK,
	toc.Char: unix.S_IFCHR, toc.Block: unix.S_IFBLK, toc.Fifo: unix.S_IFIFO,
}

// setInode makes inode number in what e says.
func (m *merger) setInode(in uint32, e *toc.Entry) error {
	xattrs, err := m.metas.set(e.Xattrs)
	if err != nil {
		return err
	}
	mode := uint32(e.Mode)
	if e.Type == toc.Symlink {
		mode = 0o777 // the kernel knows no other
	}
	n := inode{
		meta: m.metas.id(meta{mode: fileKind[e.Type] | mode, uid: e.UID, gid: e.GID, xattrs: xattrs}),
		time: m.time(e.Mtime),
		at:   atLayer(m.layer),
	}
	switch e.Type {
	case toc.Regular:
		if e.Off > maxData {
			return fmt.Errorf("data at %d of the layer", e.Off)
		}
		n.size = uint64(e.Size)
		n.setData(uint64(e.Off))
		if e.Sparse != nil {
			n.at |= sparseFlag << 48
			n.setData(uint64(len(m.sparse) / sparseLen))
			if len(m.extents)/extentLen+len(e.Sparse) > maxExtents {
				return toc.OverLimit("more than %d extents of sparse files in the image", maxExtents)
			}
			m.addSparse(e)
		}
	case toc.Symlink:
		at, err := m.strings.target(e.Link)
		if err != nil {
			return err
		}
		n.size = uint64(at)
	case toc.Char, toc.Block:
		n.size = uint64(e.Major)<<32 | uint64(e.Minor)
	}
	m.inodes[in] = n
	return nil
}

func (m *merger) time(t toc.Time) uint64 {
	if v, ok := packTime(t); ok {
		return v
	}
	n := uint64(len(m.times) / timeLen)
	m.times = binary.LittleEndian.AppendUint64(grown(m.spill, m.times, timeLen), uint64(t.Sec))
	m.times = binary.LittleEndian.AppendUint64(m.times, uint64(t.Nsec))
	return n<<nsecBits | farTime
}

// addSparse appends a record of secSparse and its extents, each with the place
// of its data, so that a read finds it by halving.
func (m *merger) addSparse(e *toc.Entry) {
	le := binary.LittleEndian
	m.sparse = grown(m.spill, m.sparse, sparseLen)
	m.extents = grown(m.spill, m.extents, extentLen*len(e.Sparse))
	m.sparse = le.AppendUint32(m.sparse, uint32(len(m.extents)/extentLen))
	m.sparse = le.AppendUint32(m.sparse, uint32(len(e.Sparse)))
	at := e.Off
	for _, x := range e.Sparse {
		m.extents = le.AppendUint64(m.extents, uint64(x.Off))
		m.extents = le.AppendUint64(m.extents, uint64(x.Len))
		m.extents = le.AppendUint64(m.extents, uint64(at))
		at += x.Len
	}
}
