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
	err   error
	first []uint32 // by inode number: the first dentry that names it, plus one
}

func (t *Tree) firstDentry(id NodeID) (at uint32, ok bool, err error) {
	t.names.once.Do(func() {
		first := make([]uint32, t.Inodes())
		dents, err := t.take(secDents, 0, t.sections[secDents].len(), "dentries")
		if err != nil {
			t.names.err = err
			return
		}
		for i := len(dents)/dentryLen - 1; i >= 0; i-- {
			if n := binary.LittleEndian.Uint32(dents[i*dentryLen+4:]); int(n) < len(first) {
				first[n] = uint32(i) + 1
			}
		}
		t.names.first = first
	})
	i := uint64(id) - 1
	if i >= uint64(len(t.names.first)) || t.names.first[i] == 0 {
		return 0, false, t.names.err
	}
	return t.names.first[i] - 1, true, nil
}

// Links gives all names of a node; the root has none.
func (t *Tree) Links(id NodeID) ([]Link, error) {
	n, _, err := t.inode(id)
	if err != nil {
		return nil, err
	}
	at, ok, err := t.firstDentry(id)
	if !ok {
		return nil, err
	}
	links := make([]Link, 0, 1)
	for i, count := uint64(at), uint64(t.Names()); i < count; i += linksAtOnce {
		dents, err := t.take(secDents, i*dentryLen, min(linksAtOnce, count-i)*dentryLen, "dentries")
		if err != nil {
			return nil, err
		}
		for k := range uint64(len(dents) / dentryLen) {
			if NodeID(binary.LittleEndian.Uint32(dents[k*dentryLen+4:]))+1 != id {
				continue
			}
			link, err := t.link(i + k)
			if err != nil {
				return nil, err
			}
			if links = append(links, link); t.isDir(id) || len(links) >= int(n.nlink) {
				return links, nil
			}
		}
	}
	return links, nil
}

// linksAtOnce is how many dentries are looked through before the next are checked.
const linksAtOnce = 64

// link gives the directory that has a dentry, and its name there.
func (t *Tree) link(i uint64) (Link, error) {
	name, _, err := t.dentry(i)
	if err != nil {
		return Link{}, err
	}
	dir, err := t.dirOf(i)
	return Link{dir, string(name)}, err
}

func (t *Tree) isDir(id NodeID) bool {
	_, m, err := t.inode(id)
	return err == nil && m.mode&unix.S_IFMT == unix.S_IFDIR
}

// entryOf gives the directory and the name under which a node is found first.
func (t *Tree) entryOf(id NodeID) (NodeID, string, error) {
	at, ok, err := t.firstDentry(id)
	if err != nil {
		return 0, "", err
	}
	if !ok {
		return 0, "", iofs.ErrNotExist
	}
	l, err := t.link(uint64(at))
	return l.Dir, l.Name, err
}
