package writable

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// maxDescriptors is how many directories and files of the upper are kept open;
// a usual limit is 1024.
const maxDescriptors = 400

// descriptors keeps the files used last open. A file that is in use is closed
// only after that, so that there may be a few more.
type descriptors struct {
	mu    sync.Mutex
	files map[*node]*list.Element
	order list.List // of *descriptor, used last in front
}

// A descriptor is an open file of the upper.
type descriptor struct {
	n     *node
	fd    int
	users int
	gone  bool // not in the cache any more
}

// get gives the descriptor of a node if it is open, else nil. The caller gives
// it back to put.
func (d *descriptors) get(n *node) *descriptor {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.files[n]
	if !ok {
		return nil
	}
	d.order.MoveToFront(e)
	f := e.Value.(*descriptor)
	f.users++
	return f
}

// add takes a descriptor of a node that has none, and gives it as get does.
func (d *descriptors) add(n *node, fd int) *descriptor {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &descriptor{n: n, fd: fd, users: 1}
	if d.files == nil {
		d.files = map[*node]*list.Element{}
	}
	d.files[n] = d.order.PushFront(f)
	for e := d.order.Back(); e != nil && d.order.Len() > maxDescriptors; {
		before := e.Prev()
		if e.Value.(*descriptor).users == 0 {
			d.removeLocked(e)
		}
		e = before
	}
	return f
}

func (d *descriptors) put(f *descriptor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.users--
	if f.gone && f.users == 0 {
		unix.Close(f.fd)
	}
}

// drop closes what is open of a node once nobody uses it.
func (d *descriptors) drop(n *node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.files[n]; ok {
		d.removeLocked(e)
	}
}

func (d *descriptors) removeLocked(e *list.Element) {
	f := d.order.Remove(e).(*descriptor)
	delete(d.files, f.n)
	f.gone = true
	if f.users == 0 {
		unix.Close(f.fd)
	}
}

// close closes all.
func (d *descriptors) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for e := d.order.Front(); e != nil; e = d.order.Front() {
		d.removeLocked(e)
	}
}
