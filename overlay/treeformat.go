package overlay

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"mica/layerstore/toc"
)

// The layout of a tree file, docs/FORMATS.md section 2. All numbers are
// little-endian.
const (
	treeMagic   = "MICATREE"
	treeVersion = 2
	// Magic, version, section count, the table, a CRC-32C of all before it.
	treeHeaderLen  = 8 + 4 + 4 + numSections*treeSectionLen + 4
	treeSectionLen = 8 + 8 + 4

	inodeLen  = 32
	dentryLen = 8
	metaLen   = 16
	sparseLen = 8
	extentLen = 24
	timeLen   = 16
)

const (
	secDents   = iota // dentryLen each; the children of a directory lie side by side, by name
	secInodes         // inodeLen each; number 0 is the root
	secStrings        // names and targets, each after its length; a name has one byte of it, a target two
	secMetas          // metaLen each: mode, owner, attributes, as many as differ
	secXattrs         // sets of attributes
	secSparse         // sparseLen each: a file with holes, its first extent and how many
	secExtents        // extentLen each: offset in the file, length, offset in the layer
	secTimes          // timeLen each: times that do not fit an inode
	secLayers         // what the image's layers are
	numSections
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// A TreeError says that a tree file is damaged or of another version. It is
// never fatal: the file is made again from the indexes.
type TreeError struct {
	Path string
	Msg  string
}

func (e *TreeError) Error() string { return fmt.Sprintf("tree %s: %s", e.Path, e.Msg) }

// An inode as the tree file has it. What size and data mean depends on the
// kind of file, which the meta tells:
//
//	regular    size: bytes             data: offset in the layer, or, with sparseFlag, a number in secSparse
//	directory  size: first dentry | count << 32    data: the parent's inode
//	symlink    size: offset in secStrings of the target
//	device     size: minor | major << 32
type inode struct {
	meta  uint32
	nlink uint32
	time  uint64
	size  uint64
	// at is data in its low 48 bits, and above the number of the layer that made
	// it, bottom is 0, with sparseFlag.
	at uint64
}

func (n *inode) data() uint64     { return n.at & maxData }
func (n *inode) layer() int       { return int(n.at>>48) &^ sparseFlag }
func (n *inode) sparse() bool     { return n.at>>48&sparseFlag != 0 }
func (n *inode) setData(d uint64) { n.at = n.at&^maxData | d }

// atLayer gives the at of an inode without data.
func atLayer(layer int) uint64 { return uint64(layer) << 48 }

const (
	sparseFlag = 1 << 15
	maxLayers  = sparseFlag - 1
	maxData    = 1<<48 - 1

	// A time is 34 bits of seconds, signed, above 30 of nanoseconds (1697 to
	// 2242); with all nanosecond bits set the seconds are a number in secTimes.
	nsecBits = 30
	farTime  = 1<<nsecBits - 1
)

func (n *inode) put(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, n.meta)
	b = le.AppendUint32(b, n.nlink)
	b = le.AppendUint64(b, n.time)
	b = le.AppendUint64(b, n.size)
	return le.AppendUint64(b, n.at)
}

func getInode(b []byte) inode {
	le := binary.LittleEndian
	return inode{meta: le.Uint32(b), nlink: le.Uint32(b[4:]), time: le.Uint64(b[8:]), size: le.Uint64(b[16:]), at: le.Uint64(b[24:])}
}

// packTime gives the 64 bits of a time, or false for one that needs secTimes.
func packTime(t toc.Time) (uint64, bool) {
	if t.Sec < -1<<33 || t.Sec >= 1<<33 {
		return 0, false
	}
	return uint64(t.Sec)<<nsecBits | uint64(t.Nsec), true
}

// A meta is what many inodes share.
type meta struct {
	mode     uint32 // S_IFMT and permissions
	uid, gid uint32
	xattrs   uint32 // offset in secXattrs plus one; 0 is none
}

func (m *meta) put(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, m.mode)
	b = le.AppendUint32(b, m.uid)
	b = le.AppendUint32(b, m.gid)
	return le.AppendUint32(b, m.xattrs)
}

func getMeta(b []byte) meta {
	le := binary.LittleEndian
	return meta{mode: le.Uint32(b), uid: le.Uint32(b[4:]), gid: le.Uint32(b[8:]), xattrs: le.Uint32(b[12:])}
}

// rdev is a device number as the kernel's FUSE protocol has it
// (new_encode_dev in the kernel's kdev_t.h): 12 bits of major, 20 of minor.
func rdev(major, minor uint32) uint32 {
	return minor&0xff | major&0xfff<<8 | (minor&0xfff00)<<12
}
