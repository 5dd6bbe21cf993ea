package writable

import (
	"sort"

	"mica/overlay"
)

// Places in a directory: first come the names that the lower has, in its order
// and with its cookies, whatever the upper has made of them; then those that
// only the upper has, by hash. So a name keeps its place while others come and
// go, while it is deleted and made again, and when the directory is copied up.
const upperCookies = 1 << 62

// ReadDir emits the names of a directory as [overlay.View.ReadDir] does. The
// kernel is told of no node.
func (v *View) ReadDir(dir overlay.NodeID, cookie uint64, emit func(name string, a overlay.Attr, next uint64) bool) error {
	return v.readDir(dir, cookie, false, emit)
}

// ReadDirPlus is ReadDir for one who tells the kernel of each node that emit
// takes, as a [View.Lookup] does.
func (v *View) ReadDirPlus(dir overlay.NodeID, cookie uint64, emit func(name string, a overlay.Attr, next uint64) bool) error {
	return v.readDir(dir, cookie, true, emit)
}

func (v *View) readDir(dir overlay.NodeID, cookie uint64, told bool, emit func(string, overlay.Attr, uint64) bool) error {
	v.lock()
	defer v.mu.Unlock()
	d, err := v.known(dir)
	if err != nil {
		return err
	}
	r := &dirReader{v: v, d: d, told: told, emit: emit}
	lower := dir
	if d != nil {
		if d.orphan {
			return nil
		}
		if r.list, err = v.listOf(d); err != nil {
			return err
		}
		lower = d.lower
	}
	if lower != 0 && cookie < upperCookies {
		if err := v.lower.ReadDir(lower, cookie, r.lowerEntry); err != nil {
			return err
		}
	}
	if r.err != nil || r.full || d == nil {
		return r.err
	}
	return r.upperEntries(max(cookie, upperCookies) - upperCookies)
}

// A dirReader reads a part of one directory.
type dirReader struct {
	v    *View
	d    *node    // nil if the upper does not have it
	list *listing // of d
	told bool
	emit func(string, overlay.Attr, uint64) bool

	full bool
	err  error
}

// lowerEntry emits a name that the lower has, as the union has it.
func (r *dirReader) lowerEntry(name string, a overlay.Attr, next uint64) bool {
	if r.d != nil {
		if e, ok := r.list.names[name]; ok {
			if e.kind != entryWhiteout {
				return r.upperEntry(name, next)
			}
			return true
		}
	}
	if n := r.v.node(a.ID); n != nil && !n.orphan {
		a, r.err = r.v.attr(a.ID)
	} else {
		a, r.err = r.v.lowerAttr(a)
	}
	if r.err == nil {
		r.full = !r.emit(name, a, next)
		if r.told && !r.full {
			r.v.count(a.ID)
		}
	}
	return r.err == nil && !r.full
}

func (r *dirReader) upperEntry(name string, next uint64) bool {
	n, a, err := r.v.upperChild(r.d, name)
	if notExist(err) || n == nil && err == nil {
		return true
	}
	if err != nil {
		r.err = err
		return false
	}
	r.full = !r.emit(name, a, next)
	if r.told && !r.full {
		r.v.count(n.id)
	}
	r.v.release(n)
	return !r.full
}

func (r *dirReader) upperEntries(from uint64) error {
	order := r.v.inOrder(r.list)
	at := sort.Search(len(order), func(i int) bool { return order[i].hash >= from })
	for _, e := range order[at:] {
		if now, ok := r.list.names[e.name]; !ok || now.kind == entryWhiteout {
			continue
		}
		if has, err := r.v.lowerHas(r.d, e.name); err != nil {
			return err
		} else if has {
			continue // it has its place among the lower's
		}
		if !r.upperEntry(e.name, upperCookies+e.hash+1) {
			return r.err
		}
	}
	r.v.dropList(r.d)
	return nil
}
