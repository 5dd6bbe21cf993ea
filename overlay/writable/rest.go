package writable

import (
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// busyNodes is how many nodes more may be known before those that are not used
// rest.
const busyNodes = 1 << 14

// lock takes View.mu where a request begins: nobody holds a node of a file.
func (v *View) lock() {
	v.mu.Lock()
	if len(v.nodes) >= v.restAt {
		v.rest()
	}
}

// node gives a node that is known, nil if none is. One that rests does not any
// more.
func (v *View) node(id overlay.NodeID) *node {
	if n := v.nodes[id]; n != nil {
		return n
	}
	r, ok := v.resting.take(id)
	if !ok {
		return nil
	}
	n := &node{id: id, parent: v.nodes[r.parent], name: r.name, mode: r.mode, lookups: r.lookups, counted: r.counted}
	v.nodes[id] = n
	return n
}

// rest has files that are not used rest. Nobody may hold a node of a file.
func (v *View) rest() {
	for id, n := range v.nodes {
		if !n.idle() || v.fds.Has(n) {
			continue
		}
		r := restingNode{id: id, parent: n.parent.id, lookups: n.lookups, counted: n.counted, mode: n.mode, name: n.name}
		if v.resting.fits(&r) {
			v.resting.add(&r)
			delete(v.nodes, id) // its parent still counts it
		}
	}
	v.resting.aside()
	v.shrink()
	v.restAt = len(v.nodes) + busyNodes
}

// idle reports whether all that is to be remembered of a node is where it is and
// how often the kernel was told of it.
func (n *node) idle() bool {
	return n.mode != unix.S_IFDIR && n.parent != nil && !n.orphan && !n.unfinished && n.children == 0 && n.unmoved.writers == 0 && n.list == nil
}
