package dirs

import (
	"errors"
	iofs "io/fs"
	"slices"
	"strings"

	"mica/overlay"
)

// A list is what a directory has, in the order in which it is read: that of the
// bytes of the names. So a place in it means the same to each server of a mount,
// whatever order the file systems have.
type list struct {
	names []listed
}

type listed struct {
	name string
	at   int32 // into dir.stack
	kind uint32
	id   overlay.NodeID // as of [entry]
}

// lists are the directories that have a list.
type lists struct {
	of    []*dir
	names int // in all of them
}

// keptNames is how many names all lists may have together before the others are
// dropped for one that is made.
const keptNames = 1 << 17

// listOf gives the names of a directory.
func (u *Union) listOf(d *dir) (*list, error) {
	u.mu.RLock()
	l := d.list
	u.mu.RUnlock()
	if l != nil {
		return l, nil
	}
	l, err := d.read()
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if d.list != nil {
		return d.list, nil
	}
	if u.lists.names+len(l.names) > keptNames {
		for _, other := range u.lists.of {
			other.list = nil
		}
		u.lists = lists{}
	}
	d.list = l
	u.lists.of = append(u.lists.of, d)
	u.lists.names += len(l.names)
	return l, nil
}

// read merges the names of a directory's folders.
func (d *dir) read() (*list, error) {
	l := &list{}
	var seen map[string]bool // by a folder above
	if len(d.stack) > 1 {
		seen = map[string]bool{}
	}
	for i, f := range d.stack {
		last := i == len(d.stack)-1
		err := f.each(func(e entry) error {
			if seen[e.name] {
				return nil
			}
			if !last {
				seen[e.name] = true
			}
			if !e.whiteout {
				l.names = append(l.names, listed{e.name, int32(i), e.kind, e.id})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.names, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return l, nil
}

// ReadDir emits the names of a directory from the place cookie on, with their
// attributes, until emit returns false.
func (u *Union) ReadDir(id overlay.NodeID, cookie uint64, emit func(name string, a overlay.Attr, next uint64) bool) error {
	d, err := u.dir(id)
	if err != nil {
		return err
	}
	l, err := u.listOf(d)
	if err != nil {
		return err
	}
	for i := cookie; i < uint64(len(l.names)); i++ {
		e := &l.names[i]
		s := spot{dir: d, at: int(e.at), name: e.name, kind: e.kind}
		a, err := s.attr(e.id)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		a.ID = u.know(a.ID, s)
		if err := u.countBlocks(&a, s); err != nil {
			return err
		}
		if !emit(e.name, a, i+1) {
			return nil
		}
	}
	return nil
}
