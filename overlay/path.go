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
	var failed error
	n := sort.Search(t.Inodes(), func(i int) bool {
		_, first, err := t.dirBefore(NodeID(i + 1))
		if err != nil {
			failed = err
		}
		return first > dentry
	})
	if failed != nil {
		return 0, failed
	}
	dir, first, err := t.dirBefore(NodeID(n))
	if err != nil {
		return 0, err
	}
	_, count, err := t.children(dir)
	if err == nil && dentry-first >= count {
		err = iofs.ErrNotExist
	}
	return dir, err
}

// dirBefore gives the last directory among the nodes up to one, and its first
// dentry. The root is one before any.
func (t *Tree) dirBefore(id NodeID) (dir NodeID, first uint64, err error) {
	for ; id > Root; id-- {
		n, m, err := t.inode(id)
		if err != nil {
			return 0, 0, err
		}
		if m.mode&unix.S_IFMT == unix.S_IFDIR {
			return id, n.size & 0xffffffff, nil
		}
	}
	return Root, 0, nil
}
