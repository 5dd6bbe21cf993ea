package overlay

import (
	iofs "io/fs"
	"sort"

	"golang.org/x/sys/unix"
)

// Path gives a path of a node from the root, "/" for the root itself; of
// several names the first.
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

// dirOf gives the directory that has a dentry: of those whose dentries begin at
// it or before, the last, as they follow one another like the directories do.
func (t *Tree) dirOf(dentry uint64) (NodeID, error) {
	n := sort.Search(t.Inodes(), func(i int) bool {
		_, first := t.dirBefore(NodeID(i + 1))
		return first > dentry
	})
	dir, first := t.dirBefore(NodeID(n))
	if children, err := t.children(dir); err != nil || dentry-first >= uint64(len(children)/dentryLen) {
		return 0, iofs.ErrNotExist
	}
	return dir, nil
}

// dirBefore gives the last directory among the nodes up to one, and its first
// dentry. The root is one before any.
func (t *Tree) dirBefore(id NodeID) (dir NodeID, first uint64) {
	for ; id > Root; id-- {
		if n, m, err := t.inode(id); err == nil && m.mode&unix.S_IFMT == unix.S_IFDIR {
			return id, n.size & 0xffffffff
		}
	}
	return Root, 0
}
