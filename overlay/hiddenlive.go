package overlay

import (
	iofs "io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Each look-up of a live file gives a node of its own, with the contents of
// that moment: so the kernel may keep them as it keeps those of all files. The
// numbers are of part 1, from firstSnapshot on, and go by the clock, as the
// kernel may know some of a former server.
const (
	firstSnapshot NodeID = 1<<partShift + 1<<16
	keptSnapshots        = 64 // before the oldest one is forgotten
)

// snapshots are the last contents of live files.
type snapshots struct {
	mu   sync.Mutex
	last NodeID
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
	clock := firstSnapshot + NodeID(time.Now().UnixMilli())&(nodeMask>>1)
	s.last = max(s.last+1, clock)
	s.ring[s.last%keptSnapshots] = snapshot{s.last, data}
	return s.last
}

// data is what a file of the directory holds.
func (h *Hidden) data(id NodeID) ([]byte, error) {
	if id >= firstFile && id < firstFile+NodeID(len(h.files)) {
		return h.files[id-firstFile].Data, nil
	}
	s := &h.taken
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.ring[id%keptSnapshots]; id >= firstSnapshot && got.id == id {
		return got.data, nil
	}
	return nil, iofs.ErrNotExist
}

// Fleeting reports whether the name of a node means another node at the next
// look-up.
func (h *Hidden) Fleeting(id NodeID) bool {
	return id>>partShift == 1 && id >= firstSnapshot || h.live(id) != nil
}

// listed is what a listing tells of the ith name in one of the directories; of
// a live file it is the type alone.
func (h *Hidden) listed(dir NodeID, name string, i int) (Attr, error) {
	if id := layersDir + NodeID(i); dir == hiddenDir && h.live(id) != nil {
		return Attr{ID: id, Mode: unix.S_IFREG | 0o444, Nlink: 1}, nil
	}
	return h.lookupHidden(dir, name)
}
