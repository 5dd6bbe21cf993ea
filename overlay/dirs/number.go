package dirs

import (
	"encoding/binary"
	"hash/fnv"
	"sync"

	"mica/overlay"
)

// A node's number is that of its inode with the number of its file system
// above: the same for each server of a mount, and at the next mount of the same
// layers. File systems and images are counted from 1 from the bottom layer on, so that a
// layer more on top leaves the numbers as they are. The bit
// [overlay.UpperNodes] is clear.
const (
	systemShift = 49
	inodeLimit  = 1 << 48
	oddNode     = 1 << 62 // a number that is a hash
)

// numbers gives inodes their numbers.
type numbers struct {
	systems map[uint64]uint64 // by st_dev; constant

	mu  sync.Mutex
	odd map[overlay.NodeID]oddInode
}

// An oddInode is one whose number does not fit, is of a file system that no
// layer begins in (a subvolume of btrfs has its own), or is a directory that is
// seen in two places, which only redirects can make.
type oddInode struct {
	dev, ino uint64
	dir      overlay.NodeID // of the second place; else 0
	name     string
}

// of gives the number of an inode.
func (n *numbers) of(dev, ino uint64) overlay.NodeID {
	if k, ok := n.systems[dev]; ok && ino < inodeLimit {
		return overlay.NodeID(k<<systemShift | ino)
	}
	return n.ofOdd(oddInode{dev: dev, ino: ino})
}

// ofOdd gives the number of an inode that has none by itself. Two with one hash
// are told apart, in the order in which they are met: with a million of them
// that happens once in 500 mounts.
func (n *numbers) ofOdd(in oddInode) overlay.NodeID {
	h := fnv.New64a()
	var b [24]byte
	binary.NativeEndian.PutUint64(b[:], in.dev)
	binary.NativeEndian.PutUint64(b[8:], in.ino)
	binary.NativeEndian.PutUint64(b[16:], uint64(in.dir))
	h.Write(b[:])
	h.Write([]byte(in.name))
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := h.Sum64(); ; id++ {
		id := oddNode | overlay.NodeID(id%inodeLimit)
		was, taken := n.odd[id]
		if !taken {
			n.odd[id] = in
		}
		if !taken || was == in {
			return id
		}
	}
}
