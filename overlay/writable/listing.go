package writable

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay/ondisk"
)

// What a listing has of a name besides the types of files, S_IFMT.
const (
	entryNone     = 0 // nothing
	entryWhiteout = 1 // deleted
)

// A listing is what the upper has in a directory.
type listing struct {
	names map[string]listed
	// order is names by hash; it may have names that are gone, and lacks those
	// that are new until sorted is set again.
	order  []listed
	sorted bool
}

type listed struct {
	name string
	hash uint64 // below hashLimit
	kind uint32 // S_IFMT or entryWhiteout
}

const hashLimit = 1 << 60

// hash says where in its directory a name is read. It is the same for all
// servers of a mount, so that a reader can go on where it was.
func (v *View) hash(name string) uint64 {
	h := fnv.New64a()
	var seed [8]byte
	binary.NativeEndian.PutUint64(seed[:], v.seed)
	h.Write(seed[:])
	h.Write([]byte(name))
	return h.Sum64() % hashLimit
}

// keptNames is how many names all listings may have together before those that
// are not needed at the moment are dropped.
const keptNames = 1 << 17

// listOf gives the listing of a directory, which lasts until another one is
// asked for.
func (v *View) listOf(n *node) (*listing, error) {
	if n.list != nil {
		return n.list, nil
	}
	l := &listing{names: map[string]listed{}}
	if err := v.readUpper(n, func(name string, kind uint32) {
		l.names[name] = listed{name, v.hash(name), kind}
	}); err != nil {
		return nil, err
	}
	total := len(l.names)
	for _, other := range v.lists {
		total += len(other.list.names)
	}
	if total > keptNames {
		for _, other := range v.lists {
			other.list = nil
		}
		v.lists = nil
	}
	n.list = l
	v.lists = append(v.lists, n)
	return l, nil
}

// dropList says that nobody reads a directory any more.
func (v *View) dropList(n *node) {
	if i := slices.Index(v.lists, n); i >= 0 {
		v.lists = slices.Delete(v.lists, i, i+1)
	}
	n.list = nil
}

// listed says what a name of the directory is from now on: S_IFMT of a mode,
// entryNone or entryWhiteout.
func (n *node) listed(name string, mode uint32) {
	if n.list == nil {
		return
	}
	kind := mode
	if mode != entryWhiteout {
		kind &= unix.S_IFMT
	}
	if kind == entryNone {
		delete(n.list.names, name)
		return
	}
	n.list.names[name] = listed{name: name, kind: kind}
	n.list.sorted = false
}

// unlisted says that a name is gone, under a whiteout or with none.
func (n *node) unlisted(name string, whiteout bool) {
	if whiteout {
		n.listed(name, entryWhiteout)
	} else {
		n.listed(name, entryNone)
	}
}

// inOrder gives the names in the order in which they are read. It may have names
// that are gone.
func (v *View) inOrder(l *listing) []listed {
	if l.sorted {
		return l.order
	}
	l.order = l.order[:0]
	for name, e := range l.names {
		e.hash = v.hash(name)
		l.order = append(l.order, e)
	}
	slices.SortFunc(l.order, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.name, b.name))
	})
	for i := 1; i < len(l.order); i++ {
		// So that no two have the same place.
		l.order[i].hash = max(l.order[i].hash, l.order[i-1].hash+1)
	}
	l.sorted = true
	return l.order
}

// readUpper tells the names that the upper has in a directory.
func (v *View) readUpper(n *node, tell func(name string, kind uint32)) error {
	p, err := v.in(n, ".")
	if err != nil {
		return err
	}
	defer p.done()
	opacity, err := v.kind.Opacity(p.fd, ".")
	if err != nil {
		return err
	}
	var entries []ondisk.Entry
	if err := ondisk.Scan(p.fd, func(e ondisk.Entry) bool {
		entries = append(entries, e)
		return true
	}); err != nil {
		return err
	}
	for _, e := range entries {
		kind := e.Type
		if kind == 0 || kind == unix.S_IFCHR || kind == unix.S_IFREG && opacity == ondisk.XWhiteouts {
			var st unix.Stat_t
			if err := unix.Fstatat(p.fd, e.Name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			kind = st.Mode & unix.S_IFMT
			if v.kind.whiteout(p.fd, e.Name, &st) {
				kind = entryWhiteout
			}
		}
		tell(e.Name, kind)
	}
	return nil
}
