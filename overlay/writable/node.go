package writable

import (
	"fmt"
	iofs "io/fs"
	"maps"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// A node is an inode that the upper has. What only the lower has needs none.
// All of it is guarded by View.mu.
type node struct {
	id overlay.NodeID
	// Where it is in the upper: one of its names. parent is nil for the root and
	// for an orphan, whose name is in the directory of orphans.
	parent *node
	name   string
	orphan bool
	mode   uint32 // S_IFMT only
	// lower is the directory that a directory is merged with, or 0.
	lower overlay.NodeID
	// redirected is of a directory of the lower under another name.
	redirected bool
	// unfinished is of a file that lacks names, and has one in the work directory.
	unfinished bool
	// lookups is how often the kernel was told of it and has not forgotten, if
	// counted: not of what it was told by a server that has died.
	lookups uint64
	counted bool
	// children counts the nodes whose parent this is.
	children int
	unmoved  unmoved  // of a regular file that is being written to
	list     *listing // of a directory that is being read, or nil
}

func (n *node) isDir() bool { return n.mode == unix.S_IFDIR }

// place is a directory's descriptor and a name in it, to be given back.
type place struct {
	v    *View
	dir  *ondisk.File[*node] // nil for fixed directories
	fd   int
	name string
}

func (p *place) done() {
	if p.dir != nil {
		p.v.fds.Put(p.dir)
	}
}

// place gives where a node is in the upper.
func (v *View) place(n *node) (place, error) {
	switch {
	case n == v.root:
		return place{v: v, fd: v.upper, name: "."}, nil
	case n.orphan:
		return place{v: v, fd: v.orphans, name: n.name}, nil
	}
	return v.in(n.parent, n.name)
}

// placeOf gives where the upper has a node; n is nil if only the lower has it.
func (v *View) placeOf(id overlay.NodeID) (n *node, p place, err error) {
	if n, err = v.known(id); n != nil && err == nil {
		p, err = v.place(n)
	}
	return n, p, err
}

// in gives the place of a name in a directory of the upper.
func (v *View) in(dir *node, name string) (place, error) {
	f, err := v.file(dir)
	if err != nil {
		return place{}, err
	}
	return place{v: v, dir: f, fd: f.FD, name: name}, nil
}

// file opens a node of the upper, a directory or a regular file, for all that
// may be done to it. The caller gives it back.
func (v *View) file(n *node) (*ondisk.File[*node], error) {
	if f := v.fds.Get(n); f != nil {
		return f, nil
	}
	p, err := v.place(n)
	if err != nil {
		return nil, err
	}
	defer p.done()
	flags := unix.O_RDWR
	switch n.mode {
	case unix.S_IFDIR:
		flags = unix.O_RDONLY | unix.O_DIRECTORY
	case unix.S_IFREG:
	default:
		return nil, unix.EINVAL // opening a device or a pipe does something
	}
	fd, err := openAnyway(p, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		return nil, fmt.Errorf("upper %s: %w", n.name, err)
	}
	return v.fds.Add(n, fd), nil
}

// openAnyway opens a file whose mode does not allow its owner to: who is not
// root changes that for a moment. (The kernel has checked what the caller may.)
func openAnyway(p place, flags int) (int, error) {
	fd, err := unix.Openat(p.fd, p.name, flags, 0)
	if err == unix.EPERM {
		flags &^= unix.O_NOATIME // another's file, without CAP_FOWNER
		fd, err = unix.Openat(p.fd, p.name, flags, 0)
	}
	if err != unix.EACCES {
		return fd, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if err := unix.Fchmodat(p.fd, p.name, st.Mode&0o7777|0o700, 0); err != nil {
		return -1, unix.EACCES
	}
	fd, err = unix.Openat(p.fd, p.name, flags, 0)
	if e := unix.Fchmodat(p.fd, p.name, st.Mode&0o7777, 0); err == nil && e != nil {
		unix.Close(fd)
		return -1, e
	}
	return fd, err
}

// keep makes the node of a name in the upper known, or finds the one that is.
func (v *View) keep(id overlay.NodeID, dir *node, name string, mode uint32) *node {
	n := v.node(id)
	if n == nil {
		n = &node{id: id, mode: mode & unix.S_IFMT}
		v.add(n)
	}
	if !n.orphan {
		v.move(n, dir, name)
	}
	return n
}

// move says that a node is found elsewhere now.
func (v *View) move(n, dir *node, name string) {
	if n.parent == dir && n.name == name {
		return
	}
	old := n.parent
	n.parent, n.name = dir, name
	if dir != nil {
		dir.children++
	}
	if old != nil {
		old.children--
		v.release(old)
	}
}

// release lets go of a node that neither the kernel nor another node needs. If
// it has a name it is found by that again. Directories of the lower under
// another name stay known, as they show where the lower's files are, and so do
// files that names of the lower are to show.
func (v *View) release(n *node) {
	if n.lookups > 0 || !n.counted || n.children > 0 || n == v.root || v.nodes[n.id] != n {
		return
	}
	if (n.redirected || n.unfinished) && !n.orphan {
		return
	}
	if n.orphan && !v.removeOrphan(n.name, n.isDir()) {
		return
	}
	delete(v.nodes, n.id)
	v.shrink()
	v.fds.Drop(n)
	v.dropList(n)
	if p := n.parent; p != nil {
		n.parent = nil
		p.children--
		v.release(p)
	}
}

// keptPeak is up to how many nodes what they took is kept for others to come.
const keptPeak = 1 << 15

// shrink gives memory back once most of many nodes are not known any more: a
// map never does by itself, nor a heap that is not used.
func (v *View) shrink() {
	if v.peak <= keptPeak || len(v.nodes) > v.peak/4 {
		return
	}
	nodes := make(map[overlay.NodeID]*node, len(v.nodes))
	maps.Copy(nodes, v.nodes)
	v.nodes, v.peak = nodes, len(nodes)
	go debug.FreeOSMemory()
}

// Forget says that the kernel has forgotten n of the times that it was told of
// a node.
func (v *View) Forget(id overlay.NodeID, lookups uint64) {
	v.lock()
	defer v.mu.Unlock()
	n := v.node(id)
	if n == nil {
		if v.told.sub(id, lookups) {
			delete(v.gone, id)
		}
		return
	}
	n.lookups -= min(n.lookups, lookups)
	if !n.counted && n.orphan {
		// Nobody can look up what has no name, so this was all.
		n.lookups, n.counted = 0, true
	}
	v.release(n)
}

// Told says that the kernel was told of a node once more.
func (v *View) Told(id overlay.NodeID) {
	v.lock()
	defer v.mu.Unlock()
	v.count(id)
}

func (v *View) count(id overlay.NodeID) {
	if n := v.node(id); n != nil {
		n.lookups++
	} else if id&overlay.UpperNodes == 0 {
		v.told.add(id)
	}
}

// add makes a new node known. The kernel may have been told of it while only
// the lower had it.
func (v *View) add(n *node) {
	n.lookups, n.counted = v.told.take(n.id), !v.takenOver
	v.nodes[n.id] = n
	v.peak = max(v.peak, len(v.nodes))
}

// known gives the node of a number that the upper may have: nil for one that
// only the lower has.
func (v *View) known(id overlay.NodeID) (*node, error) {
	if n := v.node(id); n != nil {
		return n, nil
	}
	if id&overlay.UpperNodes != 0 {
		return nil, iofs.ErrNotExist
	}
	return nil, nil
}
