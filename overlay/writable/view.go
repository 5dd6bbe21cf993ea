package writable

import (
	"fmt"
	iofs "io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// A View is a lower tree with an upper over it, as programs see it. Its methods
// may be called concurrently; those that change something are done one after
// the other.
type View struct {
	lower   overlay.Lower
	kind    upperKind
	upper   int // descriptors of the directories
	work    int
	orphans int
	state   int

	fds       ondisk.Cache[*node]
	seed      uint64 // of the order in which directories are read
	empty     bool   // the upper had nothing when it was opened
	takenOver bool   // the kernel was told of nodes by another server
	atOpen    bool   // see CopyAtOpen

	mu        sync.Mutex
	nodes     map[overlay.NodeID]*node  // of all that the upper has and that is known, but for
	resting   resting                   // these: see rest
	restAt    int                       // how many nodes there are when others are to rest
	peak      int                       // how many nodes there were at most, see shrink
	told      lookups                   // of nodes that only the lower has
	gone      map[overlay.NodeID]uint32 // of files that only the lower has: names deleted here
	flights   map[overlay.NodeID]*flight
	deleted   bool // names of lower files were deleted here
	foundAll  bool // see findAll
	root      *node
	lists     []*node // those that have a listing
	umask     uint32  // of this process
	temporary uint64  // counts names in the work directory
}

// Close lets go of the directories. What is deleted and still kept is removed
// at the next Open.
func (v *View) Close() error {
	v.fds.Close()
	v.resting.release()
	for _, fd := range []int{v.state, v.orphans, v.work, v.upper} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// Clean empties the work directory once the mount is gone. Only Close may be
// called after it.
func (v *View) Clean() error {
	v.fds.Close()
	return os.RemoveAll(fdPath(v.work) + "/../" + workName)
}

// Lower is the tree below.
func (v *View) Lower() overlay.Lower { return v.lower }

// Lookup finds a name in a directory. The kernel is told of what this and the
// methods that make something give, until [View.Forget].
func (v *View) Lookup(dir overlay.NodeID, name string) (overlay.Attr, error) {
	v.lock()
	defer v.mu.Unlock()
	a, err := v.lookup(dir, name)
	return v.tell(a, err)
}

// tell counts that the kernel is told of a node.
func (v *View) tell(a overlay.Attr, err error) (overlay.Attr, error) {
	if err == nil {
		v.count(a.ID)
	}
	return a, err
}

func (v *View) lookup(dir overlay.NodeID, name string) (overlay.Attr, error) {
	_, a, err := v.find(dir, name)
	return a, err
}

// find is lookup, and gives the node if the name is in the upper; else n is nil.
func (v *View) find(dir overlay.NodeID, name string) (n *node, a overlay.Attr, err error) {
	d, err := v.known(dir)
	if err != nil {
		return nil, a, err
	}
	if d == nil {
		a, err = v.lowerChild(dir, name)
		return nil, a, err
	}
	if n, a, err = v.upperChild(d, name); n != nil || err != nil {
		return n, a, err
	}
	if d.lower == 0 {
		return nil, a, iofs.ErrNotExist
	}
	a, err = v.lowerChild(d.lower, name)
	return nil, a, err
}

// lowerChild finds a name that the upper says nothing of in a directory of the
// lower.
func (v *View) lowerChild(dir overlay.NodeID, name string) (overlay.Attr, error) {
	a, err := v.lower.Lookup(dir, name)
	if err != nil {
		return a, err
	}
	if n := v.node(a.ID); n != nil && !n.orphan {
		// A name that could not be linked when the others were copied up.
		return v.attr(a.ID)
	}
	return v.lowerAttr(a)
}

// lowerAttr makes what the lower tells of a node true for the union: it knows
// nothing of names that were deleted, and nobody counts the directories in a
// merged one.
func (v *View) lowerAttr(a overlay.Attr) (overlay.Attr, error) {
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		a.Nlink = 1
		return a, nil
	}
	if a.Nlink > 1 && (!v.empty || v.deleted) || v.takenOver {
		links, err := v.visibleLinks(a.ID)
		if err != nil {
			return a, err
		}
		a.Nlink = uint32(len(links))
		return a, nil
	}
	a.Nlink -= min(a.Nlink, v.gone[a.ID])
	return a, nil
}

// upperChild gives the node of a name in the upper: nil if the upper says
// nothing of it, [iofs.ErrNotExist] if it says that it is deleted.
func (v *View) upperChild(d *node, name string) (*node, overlay.Attr, error) {
	if d.orphan {
		return nil, overlay.Attr{}, iofs.ErrNotExist
	}
	p, err := v.in(d, name)
	if err != nil {
		return nil, overlay.Attr{}, err
	}
	defer p.done()
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
		return nil, overlay.Attr{}, nil
	} else if err != nil {
		return nil, overlay.Attr{}, err
	}
	if v.kind.whiteout(p.fd, name, &st) {
		return nil, overlay.Attr{}, iofs.ErrNotExist
	}
	n, err := v.identify(d, p, &st)
	if err != nil {
		return nil, overlay.Attr{}, err
	}
	return n, v.attrOf(n, &st), nil
}

// identify makes the node of what was found in the upper known.
func (v *View) identify(d *node, p place, st *unix.Stat_t) (*node, error) {
	id, err := v.kind.nodeOf(p.fd, p.name)
	if err != nil {
		return nil, err
	}
	noted := id != 0
	if !noted {
		id = upperNode(st)
	}
	var lower overlay.NodeID
	var redirected bool
	if n := v.node(id); st.Mode&unix.S_IFMT == unix.S_IFDIR && (n == nil || !n.isDir()) {
		if lower, redirected, err = v.mergedWith(d, p); err != nil {
			return nil, err
		}
		// The kernel notes no numbers. By its own a lower directory is found
		// when a file of it is copied up.
		if n := v.nodes[lower]; !noted && lower != 0 && (n == nil || n.parent == d && n.name == p.name) {
			id = lower
		}
	}
	if n := v.node(id); n != nil && n.mode == st.Mode&unix.S_IFMT {
		if n.orphan {
			if err := v.adopt(n, d, p.name); err != nil {
				return nil, err
			}
			st.Nlink--
		}
		v.move(n, d, p.name)
		return n, nil
	}
	n := &node{id: id, mode: st.Mode & unix.S_IFMT, lower: lower, redirected: redirected}
	v.add(n)
	v.move(n, d, p.name)
	return n, nil
}

// upperNode is the number of a file that only the upper has.
func upperNode(st *unix.Stat_t) overlay.NodeID {
	// Numbers of more than 48 bits are of no file system that takes an upper.
	return overlay.UpperNodes | overlay.NodeID(st.Ino&(1<<48-1))
}

// mergedWith gives the lower directory that a directory of the upper is merged
// with, 0 if there is none.
func (v *View) mergedWith(parent *node, p place) (lower overlay.NodeID, redirected bool, err error) {
	if opaque, err := v.kind.opaque(p.fd, p.name); err != nil || opaque {
		return 0, false, err
	}
	redirect, err := v.kind.Redirect(p.fd, p.name)
	if err != nil {
		return 0, false, err
	}
	var a overlay.Attr
	switch {
	case redirect != "" && redirect[0] == '/':
		a, err = v.walkLower(redirect)
	case parent.lower == 0:
		return 0, false, nil
	case redirect != "":
		a, err = v.lower.Lookup(parent.lower, redirect)
	default:
		a, err = v.lower.Lookup(parent.lower, p.name)
	}
	if notExist(err) || err == nil && a.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, false, nil
	}
	return a.ID, redirect != "", err
}

// Attr gives what stat(2) tells of a node.
func (v *View) Attr(id overlay.NodeID) (overlay.Attr, error) {
	v.lock()
	defer v.mu.Unlock()
	return v.attr(id)
}

func (v *View) attr(id overlay.NodeID) (overlay.Attr, error) {
	n, p, err := v.placeOf(id)
	if err != nil {
		return overlay.Attr{}, err
	}
	if n == nil {
		a, err := v.lower.Attr(id)
		if err != nil {
			return a, err
		}
		return v.lowerAttr(a)
	}
	defer p.done()
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return overlay.Attr{}, fmt.Errorf("upper %s: %w", p.name, err)
	}
	return v.attrOf(n, &st), nil
}

func (v *View) attrOf(n *node, st *unix.Stat_t) overlay.Attr {
	a := ondisk.Attr(n.id, st)
	switch {
	case n.isDir() && n.orphan:
		a.Nlink = 0
	case n.isDir() && n.lower != 0:
		a.Nlink = 1 // as overlayfs has it: nobody counts the directories of a merged one
	case n.orphan:
		a.Nlink-- // the name in the work directory
	}
	if n.unfinished {
		a.Nlink-- // there is another
	}
	return a
}

// Parent gives what ".." of a directory is.
func (v *View) Parent(dir overlay.NodeID) (overlay.NodeID, error) {
	v.lock()
	defer v.mu.Unlock()
	n, err := v.known(dir)
	if err != nil {
		return 0, err
	}
	if n == nil {
		return v.lower.Parent(dir)
	}
	if n.parent == nil {
		return overlay.Root, nil
	}
	return n.parent.id, nil
}

// Readlink gives the target of a symlink.
func (v *View) Readlink(id overlay.NodeID) (string, error) {
	v.lock()
	defer v.mu.Unlock()
	n, p, err := v.placeOf(id)
	if err != nil {
		return "", err
	}
	if n == nil {
		return v.lower.Readlink(id)
	}
	defer p.done()
	buf := make([]byte, unix.PathMax)
	k, err := unix.Readlinkat(p.fd, p.name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:k]), nil
}
