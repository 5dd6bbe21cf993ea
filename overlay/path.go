package overlay

import (
	"encoding/binary"
	iofs "io/fs"

	"golang.org/x/sys/unix"
)

// Path gives a path of a node from the root, "/" for the root itself; of
// several names the first. It looks through the whole tree, and is for
// messages.
func (t *Tree) Path(id NodeID) (string, error) {
	path := ""
	for id != Root {
		dir, name, err := t.entryOf(id)
		if err != nil {
			return "", err
		}
		path = "/" + name + path
		if len(path) > 1<<20 {
			return "", t.bad("directories that lie in each other")
		}
		id = dir
	}
	if path == "" {
		path = "/"
	}
	return path, nil
}

// entryOf gives the directory and the name under which a node is found first.
func (t *Tree) entryOf(id NodeID) (NodeID, string, error) {
	dents := t.sections[secDents]
	for at := 0; at < len(dents); at += dentryLen {
		if NodeID(binary.LittleEndian.Uint32(dents[at+4:]))+1 != id {
			continue
		}
		name, _, err := t.dentry(dents[at:])
		if err != nil {
			return 0, "", err
		}
		dir, err := t.dirOf(uint64(at / dentryLen))
		return dir, string(name), err
	}
	return 0, "", iofs.ErrNotExist
}

// dirOf gives the directory that has a dentry.
func (t *Tree) dirOf(dentry uint64) (NodeID, error) {
	for i := range t.Inodes() {
		id := NodeID(i + 1)
		n, m, err := t.inode(id)
		if err != nil {
			return 0, err
		}
		first, count := n.size&0xffffffff, n.size>>32
		if m.mode&unix.S_IFMT == unix.S_IFDIR && dentry >= first && dentry-first < count {
			return id, nil
		}
	}
	return 0, iofs.ErrNotExist
}
