package writable

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"mica/layerstore/scratch"
	"mica/overlay"
)

// resting are the nodes of files that are known and not used at the moment: as
// the kernel forgets a file only when it needs the room, a million of them may be
// known. One takes 24 bytes, the room that a table needs, and its name, in files
// that are mapped, instead of some 230 in the heap.
type resting struct {
	dir    string // where the files lie, if they can
	slots  []restingSlot
	used   int
	names  []byte // see restingHead
	end    int    // of names
	wasted int    // bytes of names
	maps   [][]byte
}

// A restingSlot is one node; id is 0 if it is empty. It is found from where its
// number is hashed to on, before the next empty slot.
type restingSlot struct {
	id, parent overlay.NodeID
	lookups    uint32
	name       uint32 // where it begins in names
}

// A restingNode is what is known of a node that rests.
type restingNode struct {
	id, parent overlay.NodeID
	lookups    uint64
	counted    bool
	mode       uint32 // S_IFMT only
	name       string
}

// A name in resting.names is one byte with the type of the file and a flag, one
// with its length, and it.
const (
	restingHead    = 2
	restingCounted = 1 << 4 // above the four bits of the type
	restingType    = 12     // by how much these are shifted in a mode
)

// fewSlots is how many slots there are at least.
const fewSlots = 1 << 12

// fits reports whether there can be room for a node.
func (r *resting) fits(n *restingNode) bool {
	const most = 1<<32 - 1
	return n.id != 0 && n.lookups <= most && len(n.name) <= 255 && r.end-r.wasted < most/2
}

// add takes a node that [resting.fits] and that is not there.
func (r *resting) add(n *restingNode) {
	if r.used+1 > len(r.slots)/8*7 || r.end+restingHead+len(n.name) > len(r.names) {
		r.rebuild(2 * (r.used + 1))
	}
	kind := byte(n.mode >> restingType)
	if n.counted {
		kind |= restingCounted
	}
	at := r.end
	r.names[at], r.names[at+1] = kind, byte(len(n.name))
	r.end += restingHead + copy(r.names[at+restingHead:], n.name)
	r.put(restingSlot{id: n.id, parent: n.parent, lookups: uint32(n.lookups), name: uint32(at)})
}

func (r *resting) put(s restingSlot) {
	i := r.home(s.id)
	for r.slots[i].id != 0 {
		i = (i + 1) % len(r.slots)
	}
	r.slots[i] = s
	r.used++
}

// home is where the search for a number begins.
func (r *resting) home(id overlay.NodeID) int {
	const golden = 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: numbers in a row are spread
	return int(uint64(id) * golden >> 32 * uint64(len(r.slots)) >> 32)
}

// take gives a node and removes it; ok is false if it is not there.
func (r *resting) take(id overlay.NodeID) (n restingNode, ok bool) {
	if r.used == 0 || id == 0 {
		return n, false
	}
	i := r.home(id)
	for r.slots[i].id != id {
		if r.slots[i].id == 0 {
			return n, false
		}
		i = (i + 1) % len(r.slots)
	}
	s := r.slots[i]
	kind, size := r.names[s.name], int(r.names[s.name+1])
	start := int(s.name) + restingHead
	n = restingNode{id: id, parent: s.parent, lookups: uint64(s.lookups), counted: kind&restingCounted != 0,
		mode: uint32(kind&^restingCounted) << restingType, name: string(r.names[start : start+size])}
	r.wasted += restingHead + size
	r.used--
	r.close(i)
	switch {
	case r.used == 0:
		r.release()
	case r.used < len(r.slots)/16 && len(r.slots) > fewSlots:
		r.rebuild(2 * r.used)
	}
	return n, true
}

// close makes a slot empty, and moves up what would not be found behind it.
func (r *resting) close(hole int) {
	n := len(r.slots)
	for i := (hole + 1) % n; r.slots[i].id != 0; i = (i + 1) % n {
		// What lies at its home, or between that and the hole, stays.
		if home := r.home(r.slots[i].id); (i-home+n)%n >= (i-hole+n)%n {
			r.slots[hole] = r.slots[i]
			hole = i
		}
	}
	r.slots[hole] = restingSlot{}
}

// rebuild makes room for this many nodes, without names that are not needed.
func (r *resting) rebuild(nodes int) {
	old, names, maps := r.slots, r.names, r.maps
	size := max(nodes, fewSlots)
	live := r.end - r.wasted
	r.maps = nil
	slots := r.room(size * int(unsafe.Sizeof(restingSlot{})))
	r.slots = unsafe.Slice((*restingSlot)(unsafe.Pointer(unsafe.SliceData(slots))), size)
	r.names = r.room(max(2*live, 1<<16) + restingHead + 255)
	r.used, r.end, r.wasted = 0, 0, 0
	for _, s := range old {
		if s.id == 0 {
			continue
		}
		length := restingHead + int(names[s.name+1])
		at := r.end
		r.end += copy(r.names[at:], names[s.name:int(s.name)+length])
		s.name = uint32(at)
		r.put(s)
	}
	unmap(maps)
}

// room gives zeros in a mapped file; on the heap if they are few, or if there is
// no room elsewhere. The blocks are there before they are written to: to find the
// disk full then would be a signal, not an error.
func (r *resting) room(size int) (b []byte) {
	const few = 1 << 18
	if size < few {
		return make([]byte, size)
	}
	f, err := scratch.Somewhere(r.dir, func(f *os.File) (err error) {
		if err = unix.Fallocate(int(f.Fd()), 0, 0, int64(size)); err == nil {
			b, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		}
		return err
	})
	if err != nil {
		return make([]byte, size)
	}
	f.Close() // the mapping is what keeps it
	r.maps = append(r.maps, b)
	return b
}

// aside says that nobody looks at it for a while: what is in the files need not
// be mapped until then.
func (r *resting) aside() {
	for _, b := range r.maps {
		_ = unix.Madvise(b, unix.MADV_DONTNEED) // else it takes memory
	}
}

// release gives all room back. Nothing is there any more.
func (r *resting) release() {
	unmap(r.maps)
	*r = resting{dir: r.dir}
}

func unmap(maps [][]byte) {
	for _, b := range maps {
		_ = unix.Munmap(b) // what cannot be given back is when the process ends
	}
}
