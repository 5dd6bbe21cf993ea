package dirs

import (
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// recent says where nodes are found: of those met last, at least knownNodes. A
// node that is not among them is found by the index.
type recent struct {
	now, before map[overlay.NodeID]spot
}

// knownNodes is some 20 MiB of spots.
const knownNodes = 1 << 17

func (r *recent) get(id overlay.NodeID) (spot, bool) {
	s, ok := r.now[id]
	if !ok {
		s, ok = r.before[id]
	}
	return s, ok
}

func (r *recent) put(id overlay.NodeID, s spot) {
	if len(r.now) >= knownNodes {
		r.now, r.before = make(map[overlay.NodeID]spot), r.now
	}
	r.now[id] = s
}

// know notes where a node is found, and gives its number: that of its inode, or
// another if it is a directory that is seen elsewhere as well.
func (u *Union) know(id overlay.NodeID, s spot) overlay.NodeID {
	u.mu.RLock()
	was, ok := u.known.now[id]
	u.mu.RUnlock()
	if ok && (s.kind != unix.S_IFDIR || was.dir == s.dir && was.name == s.name) {
		return id
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.kind == unix.S_IFDIR {
		id = u.placeLocked(id, s)
	}
	u.known.put(id, s)
	return id
}

// placeLocked gives the number of a directory at a spot.
func (u *Union) placeLocked(id overlay.NodeID, s spot) overlay.NodeID {
	if d := u.dirs[id]; d != nil {
		if d.parent == s.dir && d.name == s.name {
			return id
		}
	} else if was, ok := u.known.get(id); !ok || was.dir == s.dir && was.name == s.name {
		return id
	}
	return u.numbers.ofOdd(oddInode{ino: uint64(id), dir: s.dir.id, name: s.name})
}

// spot gives where a node is found.
func (u *Union) spot(id overlay.NodeID) (spot, error) {
	u.mu.RLock()
	s, ok := u.known.get(id)
	u.mu.RUnlock()
	if ok {
		return s, nil
	}
	return u.spotByIndex(id)
}

// attr gives what stat(2) tells of a node at a spot.
func (s *spot) attr(id overlay.NodeID) (overlay.Attr, error) {
	a, _, err := s.dir.stack[s.at].stat(s.name)
	a.ID = id
	return a, err
}
