package overlay

import (
	iofs "io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Each look-up of a live file gives a node of its own, with the contents of
// that moment: so the kernel may keep them as it keeps those of all files. Its
// number says which file, and goes by the clock, as the kernel may know some of a
// former server. What was forgotten since is what it is now.
const (
	snapshotBit   NodeID = 1 << 62
	snapshotShift        = 48 // the file's number is above, milliseconds below
	keptSnapshots        = 64 // before the oldest one is forgotten
)

// snapshots are the last contents of live files.
type snapshots struct {
	mu   sync.Mutex
	last NodeID // its clock
	ring [keptSnapshots]snapshot
}

type snapshot struct {
	id   NodeID
	data []byte
}

// live gives the function of a live file.
func (h *Hidden) live(id NodeID) func() []byte {
	if id < firstFile || id >= firstFile+NodeID(len(h.files)) {
		return nil
	}
	return h.files[id-firstFile].Live
}

// snapshotOf is the live file that a node is a snapshot of; 0 is none.
func snapshotOf(id NodeID) NodeID {
	if id&snapshotBit == 0 {
		return 0
	}
	return firstFile + (id&^snapshotBit)>>snapshotShift
}

// snapshot gives a number for the contents that a live file has now; other
// nodes keep theirs.
func (h *Hidden) snapshot(id NodeID) NodeID {
	live := h.live(id)
	if live == nil {
		return id
	}
	data := live()
	s := &h.taken
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, NodeID(time.Now().UnixMilli()))
	taken := snapshotBit | (id-firstFile)<<snapshotShift | s.last
	s.ring[s.last%keptSnapshots] = snapshot{taken, data}
	return taken
}

// data is what a file of the directory holds.
func (h *Hidden) data(id NodeID) ([]byte, error) {
	of := snapshotOf(id)
	live := h.live(of)
	switch {
	case id >= firstFile && id < firstFile+NodeID(len(h.files)):
		return h.files[id-firstFile].Data, nil
	case live == nil:
		return nil, iofs.ErrNotExist
	}
	s := &h.taken
	s.mu.Lock()
	kept := s.ring[id%keptSnapshots]
	s.mu.Unlock()
	if kept.id == id {
		return kept.data, nil
	}
	return live(), nil
}

// Fleeting reports whether the name of a node means another node at the next
// look-up.
func (h *Hidden) Fleeting(id NodeID) bool { return id&snapshotBit != 0 || h.live(id) != nil }

// listed is what a listing tells of the ith name in one of the directories; of
// a live file it is the type alone.
func (h *Hidden) listed(dir NodeID, name string, i int) (Attr, error) {
	if id := layersDir + NodeID(i); dir == hiddenDir && h.live(id) != nil {
		return Attr{ID: id, Mode: unix.S_IFREG | 0o444, Nlink: 1}, nil
	}
	return h.lookupHidden(dir, name)
}
