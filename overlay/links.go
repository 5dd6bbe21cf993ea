package overlay

import (
	"encoding/binary"
	iofs "io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// A reverse says which dentry names an inode. It is made at the first use, in
// one pass, and takes four bytes an inode.
type reverse struct {
	once  sync.Once
	first []uint32 // by inode number: the first dentry that names it, plus one
}

func (t *Tree) firstDentry(id NodeID) (uint32, bool) {
	t.names.once.Do(func() {
		first := make([]uint32, t.Inodes())
		dents := t.sections[secDents]
		for i := len(dents)/dentryLen - 1; i >= 0; i-- {
			if n := binary.LittleEndian.Uint32(dents[i*dentryLen+4:]); int(n) < len(first) {
				first[n] = uint32(i) + 1
			}
		}
		t.names.first = first
	})
	i := uint64(id) - 1
	if i >= uint64(len(t.names.first)) || t.names.first[i] == 0 {
		return 0, false
	}
	return t.names.first[i] - 1, true
}

// Links gives all names of a node; the root has none.
func (t *Tree) Links(id NodeID) ([]Link, error) {
	n, _, err := t.inode(id)
	if err != nil {
		return nil, err
	}
	at, ok := t.firstDentry(id)
	if !ok {
		return nil, nil
	}
	links := make([]Link, 0, 1)
	dents := t.sections[secDents]
	count := len(dents) / dentryLen
	for i := int(at); i < count; i++ {
		b := dents[i*dentryLen:]
		if NodeID(binary.LittleEndian.Uint32(b[4:]))+1 != id {
			continue
		}
		name, _, err := t.dentry(b)
		if err != nil {
			return nil, err
		}
		dir, err := t.dirOf(uint64(i))
		if err != nil {
			return nil, err
		}
		links = append(links, Link{dir, string(name)})
		if t.isDir(id) || len(links) >= int(n.nlink) {
			break
		}
	}
	return links, nil
}

func (t *Tree) isDir(id NodeID) bool {
	_, m, err := t.inode(id)
	return err == nil && m.mode&unix.S_IFMT == unix.S_IFDIR
}

// entryOf gives the directory and the name under which a node is found first.
func (t *Tree) entryOf(id NodeID) (NodeID, string, error) {
	at, ok := t.firstDentry(id)
	if !ok {
		return 0, "", iofs.ErrNotExist
	}
	name, _, err := t.dentry(t.sections[secDents][at*dentryLen:])
	if err != nil {
		return 0, "", err
	}
	dir, err := t.dirOf(uint64(at))
	return dir, string(name), err
}
