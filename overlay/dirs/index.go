package dirs

import (
	"cmp"
	"fmt"
	iofs "io/fs"
	"math"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// An index is all names of a union by the numbers of what they stand for. It is
// made at the first question that only it can answer: for a number that is not
// known, which the kernel may have from another server, or for the names of a
// file that has several. It takes 16 bytes a name and the name.
//
// What the names stand for is read out of the directories; no file is looked at
// where the file system is one whose entries have the numbers.
type index struct {
	dirs    []overlay.NodeID
	entries []indexEntry // by number, of one number by place
	names   []byte       // each after its length
}

type indexEntry struct {
	id   overlay.NodeID
	dir  uint32 // into dirs
	name uint32 // into names
}

func (x *index) nameAt(at uint32) string {
	n := uint32(x.names[at])
	return string(x.names[at+1 : at+1+n])
}

// of gives the entries of a number.
func (x *index) of(id overlay.NodeID) []indexEntry {
	from := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].id >= id })
	to := from
	for to < len(x.entries) && x.entries[to].id == id {
		to++
	}
	return x.entries[from:to]
}

// indexed gives the index, which it makes if there is none.
func (u *Union) indexed() (*index, error) {
	u.mu.RLock()
	x := u.index
	u.mu.RUnlock()
	if x != nil {
		return x, nil
	}
	u.building.Lock()
	defer u.building.Unlock()
	if u.index != nil {
		return u.index, nil
	}
	x = &index{}
	root, err := u.dir(overlay.Root)
	if err != nil {
		return nil, err
	}
	for todo := []*dir{root}; len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if todo, err = u.indexDir(x, d, todo); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(x.entries, func(a, b indexEntry) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name))
	})
	u.mu.Lock()
	u.index = x
	u.mu.Unlock()
	return x, nil
}

// indexDir adds the names of one directory, and to todo the directories in it.
func (u *Union) indexDir(x *index, d *dir, todo []*dir) ([]*dir, error) {
	l, err := d.read()
	if err != nil {
		return nil, err
	}
	x.dirs = append(x.dirs, d.id)
	for _, e := range l.names {
		if len(x.names)+256 > math.MaxUint32 || len(e.name) > math.MaxUint8 {
			return nil, fmt.Errorf("more than 4 GiB of names")
		}
		id := e.id
		if e.kind == unix.S_IFDIR {
			s := spot{dir: d, at: int(e.at), name: e.name, kind: e.kind}
			sub, err := u.indexSub(id, s)
			if err != nil {
				return nil, err
			}
			id = sub.id
			todo = append(todo, sub)
		}
		x.entries = append(x.entries, indexEntry{id, uint32(len(x.dirs) - 1), uint32(len(x.names))})
		x.names = append(append(x.names, byte(len(e.name))), e.name...)
	}
	return todo, nil
}

// indexSub gives a directory that is to be indexed. It does not become known, but
// for the number that it may have been given.
func (u *Union) indexSub(id overlay.NodeID, s spot) (*dir, error) {
	u.mu.Lock()
	id = u.placeLocked(id, s)
	d := u.dirs[id]
	u.mu.Unlock()
	if d != nil {
		return d, nil
	}
	return u.enter(id, s)
}

// spotByIndex gives where a node is found that is not known.
func (u *Union) spotByIndex(id overlay.NodeID) (spot, error) {
	x, err := u.indexed()
	if err != nil {
		return spot{}, err
	}
	for _, e := range x.of(id) {
		d, err := u.dir(x.dirs[e.dir])
		if err != nil {
			return spot{}, err
		}
		s, a, err := u.find(d, x.nameAt(e.name))
		if err != nil {
			return spot{}, err
		}
		if a.ID == id {
			return s, nil
		}
	}
	return spot{}, iofs.ErrNotExist
}

// linksByIndex gives all names of a file.
func (u *Union) linksByIndex(id overlay.NodeID) ([]overlay.Link, error) {
	x, err := u.indexed()
	if err != nil {
		return nil, err
	}
	var links []overlay.Link
	for _, e := range x.of(id) {
		links = append(links, overlay.Link{Dir: x.dirs[e.dir], Name: x.nameAt(e.name)})
	}
	return links, nil
}
