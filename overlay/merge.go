package overlay

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A LayerSource is what Merge needs of one layer; *toc.Index is one.
type LayerSource interface {
	// Markers gives the whiteouts and opaque marks.
	Markers() iter.Seq2[*toc.Entry, error]
	// Entries gives all else in tar order.
	Entries() iter.Seq2[*toc.Entry, error]
}

// A merger is the union of the layers so far: a table of names (dents) over a
// table of inodes. What a layer hides is not removed but marked dead, as a
// hard link of the same layer may still mean it.
//
// Nothing in its tables is a pointer, so that they may lie outside of the heap.
type merger struct {
	spill   *spill
	layer   int    // number of the layer being applied
	root    uint32 // the dent it is applied to; see applyAlone
	dents   []dent
	slots   []uint32 // of (parent, name): the newest dent of that name plus one
	inodes  []inode
	strings stringPool
	metas   metaTable
	sparse  []byte // secSparse and secExtents in the making
	extents []byte
	times   []byte
	pending []pendingLink
	implied int // directories that no entry has described
	follows int // bytes of symlink targets that parent has followed in this layer
	waiting int // bytes of paths in pending

	// The directory of the last entry: most entries lie beside the one before.
	lastDir  string
	lastDent uint32
}

// A dent is a name in a directory. Number 0 is a root, which is nobody's child:
// 0 elsewhere means none.
type dent struct {
	parent uint32 // a dent
	inode  uint32
	name   uint32 // in strings
	child  uint32 // first of a directory's children, dead or not
	next   uint32 // sibling
	older  uint32 // the dent of the same name that this one came after
	layer  uint16 // that made the name
	dead   uint16 // layer that hid it, plus one; 0 is alive
}

// newMerger gives one whose large tables lie in files in dir. It is to be closed.
func newMerger(dir string) *merger {
	p := newSpill(dir)
	m := &merger{spill: p, metas: newMetaTable(p), strings: stringPool{spill: p}}
	// An image may have no entry for its root, or no layers at all.
	m.inodes = pushed(m.spill, m.inodes, inode{meta: m.metas.id(meta{mode: unix.S_IFDIR | 0o755})})
	m.dents = append(m.dents, dent{})
	return m
}

// close gives back what the merger has besides memory.
func (m *merger) close() error { return m.spill.close() }

// apply puts one layer on top. The marks act on what lies below the layer,
// wherever in the tar they stand, so they come first (SEMANTICS 2.2, 2.3).
func (m *merger) apply(layer int, src LayerSource) error {
	if layer > maxLayers {
		return toc.OverLimit("more than %d layers", maxLayers)
	}
	m.layer, m.follows, m.waiting = layer, 0, 0
	m.forgetDir()
	for e, err := range src.Markers() {
		if err != nil {
			return err
		}
		m.mark(e)
	}
	for e, err := range src.Entries() {
		if err != nil {
			return err
		}
		if err := m.place(e); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	return m.linkPending()
}

// mark applies a whiteout or an opaque mark to the path itself, never through
// a symlink. A mark on nothing does nothing.
func (m *merger) mark(e *toc.Entry) {
	d, ok := m.find(e.Path)
	if !ok {
		return
	}
	if e.Type == toc.Whiteout {
		if d != m.root {
			m.kill(d)
		}
		return
	}
	for c := m.dents[d].child; c != 0; c = m.dents[c].next {
		if m.dents[c].dead == 0 {
			m.kill(c)
		}
	}
	// The dead are found by name only, so that a directory is not walked again
	// however often it is marked.
	m.dents[d].child = 0
}

// find gives the living dent at a path, element by element.
func (m *merger) find(path string) (uint32, bool) {
	d := m.root
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if d = m.child(d, name); d == 0 {
			return 0, false
		}
	}
	return d, true
}

func (m *merger) kill(d uint32) {
	m.dents[d].dead = uint16(m.layer) + 1
	m.forgetDir()
}

func (m *merger) forgetDir() { m.lastDir, m.lastDent = "", m.root }

// place adds what an entry stands for, over what was there (last wins).
func (m *merger) place(e *toc.Entry) error {
	if e.Path == "" {
		if e.Type != toc.Dir {
			return errors.New("the root of a layer must be a directory")
		}
		return m.setInode(m.dents[m.root].inode, e)
	}
	dir, base := splitPath(e.Path)
	parent, err := m.parent(dir)
	if err != nil {
		return err
	}
	old := m.child(parent, base)
	switch e.Type {
	case toc.Hardlink:
		target, ok := m.resolve(e.Link)
		if !ok && m.root != 0 {
			target, ok = m.resolveBelow(e.Link)
		}
		if !ok {
			return m.wait(pendingLink{e.Path, e.Link, m.newest(parent, base)})
		}
		return m.link(parent, base, old, target)
	case toc.Dir:
		if old != 0 && m.isDir(old) {
			// Its children stay; what it is comes from the newest.
			return m.setInode(m.dents[old].inode, e)
		}
	}
	in := uint32(len(m.inodes))
	m.inodes = pushed(m.spill, m.inodes, inode{})
	if err := m.setInode(in, e); err != nil {
		return err
	}
	_, err = m.add(parent, base, old, in)
	return err
}

func splitPath(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

// link makes base in parent one more name of the inode of target.
func (m *merger) link(parent uint32, base string, old, target uint32) error {
	if m.isDir(target) {
		return errors.New("hard link to a directory")
	}
	in := m.dents[target].inode
	if old != 0 && m.dents[old].inode == in {
		return nil // to itself, or said twice
	}
	_, err := m.add(parent, base, old, in)
	return err
}

// parent gives the directory at a path for an entry that lies in it, and
// makes what is missing. A symlink of this very layer is followed, inside the
// root, as the tools do that unpack each layer into a directory of its own;
// one of a lower layer is hidden by a directory (SEMANTICS 2.8).
func (m *merger) parent(path string) (uint32, error) {
	if path == m.lastDir {
		return m.lastDent, nil
	}
	d := m.root
	follows := 0
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name == "" || name == "." {
			continue // only in the target of a symlink
		}
		if name == ".." {
			d = m.dents[d].parent
			continue
		}
		c := m.child(d, name)
		switch {
		case c == 0:
			var err error
			if c, err = m.addImplied(d, name, 0); err != nil {
				return 0, err
			}
		case m.isDir(c):
		case m.isSymlink(c) && int(m.dents[c].layer) == m.layer:
			if follows++; follows > maxFollows {
				return 0, unix.ELOOP
			}
			target := m.target(c)
			if strings.HasPrefix(target, "/") {
				d = m.root
			}
			rest = target + "/" + rest
			if m.follows += len(rest); len(rest) > maxPath || m.follows > maxFollowed {
				return 0, unix.ENAMETOOLONG
			}
			continue
		default:
			var err error
			if c, err = m.addImplied(d, name, c); err != nil {
				return 0, err
			}
		}
		d = c
	}
	m.lastDir, m.lastDent = path, d
	return d, nil
}

const (
	maxFollows = 255
	maxPath    = 1 << 16
	// maxFollowed bounds the work that the entries of one layer can make of
	// symlinks in their paths: 64 MiB of path to be walked.
	maxFollowed = 64 << 20
)

// addImplied makes a directory that no entry describes.
func (m *merger) addImplied(parent uint32, name string, old uint32) (uint32, error) {
	if m.implied++; m.implied > maxImplied {
		return 0, toc.OverLimit("more than %d directories of the image have no entry", maxImplied)
	}
	in := uint32(len(m.inodes))
	m.inodes = pushed(m.spill, m.inodes, inode{meta: m.metas.id(meta{mode: unix.S_IFDIR | 0o755}), at: atLayer(m.layer)})
	return m.add(parent, name, old, in)
}

// resolve gives the dent that the target of a hard link means: alive, or
// hidden by the layer that links to it; through symlinks of any layer if it
// must, always inside the root.
func (m *merger) resolve(path string) (uint32, bool) {
	if d, ok := m.find(path); ok {
		return d, true
	}
	if d, ok := m.findHidden(m.root, path); ok {
		return d, true
	}
	return m.follow(path)
}

// findHidden is find among the living and what this layer hid.
func (m *merger) findHidden(d uint32, path string) (uint32, bool) {
	if path == "" {
		return d, true
	}
	name, rest, _ := strings.Cut(path, "/")
	for c := m.newest(d, name); c != 0; c = m.dents[c].older {
		if dead := m.dents[c].dead; dead != 0 && int(dead) != m.layer+1 {
			break // and those older have died before
		}
		if t, ok := m.findHidden(c, rest); ok {
			return t, true
		}
	}
	return 0, false
}

// follow is find with the symlinks on the way to the last element followed.
func (m *merger) follow(path string) (uint32, bool) {
	d := m.root
	follows := 0
	for rest := path; ; {
		var name string
		var more bool
		name, rest, more = strings.Cut(rest, "/")
		switch name {
		case "", ".":
		case "..":
			d = m.dents[d].parent
		default:
			c := m.visible(d, name)
			if c == 0 {
				return 0, false
			}
			if more && m.isSymlink(c) {
				target := m.target(c)
				if follows++; follows > maxFollows || len(target)+len(rest) > maxPath {
					return 0, false
				}
				if strings.HasPrefix(target, "/") {
					d = m.root
				}
				rest = target + "/" + rest
				continue
			}
			d = c
		}
		if !more {
			return d, d != m.root
		}
	}
}

func (m *merger) isDir(d uint32) bool     { return m.kind(d) == unix.S_IFDIR }
func (m *merger) isSymlink(d uint32) bool { return m.kind(d) == unix.S_IFLNK }

func (m *merger) kind(d uint32) uint32 {
	return m.metas.list[m.inodes[m.dents[d].inode].meta].mode & unix.S_IFMT
}

func (m *merger) target(d uint32) string {
	at := uint32(m.inodes[m.dents[d].inode].size)
	b := m.strings.data[at:]
	n := int(b[0]) | int(b[1])<<8
	return string(b[2 : 2+n])
}

// child gives the living child of that name, or 0.
func (m *merger) child(parent uint32, name string) uint32 {
	c := m.newest(parent, name)
	if c == 0 || m.dents[c].dead != 0 {
		return 0 // those older than a dead one are dead too
	}
	return c
}

// visible gives the newest child of that name that is alive or was hidden by
// this layer, or 0.
func (m *merger) visible(parent uint32, name string) uint32 {
	c := m.newest(parent, name)
	if dead := m.dents[c].dead; dead != 0 && int(dead) != m.layer+1 {
		return 0
	}
	return c
}

// newest gives the dent that came last of that name, dead or alive, or 0.
func (m *merger) newest(parent uint32, name string) uint32 {
	if len(m.slots) == 0 {
		return 0
	}
	return m.slots[m.slot(parent, name)]
}

// slot gives the place of (parent, name) in slots: taken by it, or free. A
// dent is never 0 there, as the root is nobody's child.
func (m *merger) slot(parent uint32, name string) uint64 {
	mask := uint64(len(m.slots) - 1)
	i := dentHash(parent, name) & mask
	for ; m.slots[i] != 0; i = (i + 1) & mask {
		if d := &m.dents[m.slots[i]]; d.parent == parent && m.strings.equal(d.name, name) {
			break
		}
	}
	return i
}

func dentHash(parent uint32, name string) uint64 {
	return maphash.String(poolSeed, name) ^ uint64(parent)*0x9e3779b97f4a7c15
}

// add gives the directory parent a new name, and hides old, if not 0, which
// has that name so far.
func (m *merger) add(parent uint32, name string, old, in uint32) (uint32, error) {
	if old != 0 {
		m.kill(old)
	}
	at, err := m.strings.name(name)
	if err != nil {
		return 0, err
	}
	if len(m.dents) >= maxNames {
		return 0, toc.OverLimit("more than %d names in the image", maxNames)
	}
	if len(m.dents)*4 > len(m.slots)*3 {
		m.rehash()
	}
	i := m.slot(parent, name)
	older := m.slots[i]
	if older != 0 && int(m.dents[older].layer) == m.layer {
		// What a layer has replaced itself nobody means any more. So there is
		// at most one dent of a name for each layer.
		older = m.dents[older].older
	}
	d := uint32(len(m.dents))
	m.dents = pushed(m.spill, m.dents, dent{
		parent: parent, inode: in, name: at, layer: uint16(m.layer),
		next: m.dents[parent].child, older: older,
	})
	m.dents[parent].child = d
	m.slots[i] = d
	return d, nil
}

func (m *merger) rehash() {
	old := len(m.slots)
	freed(m.spill, m.slots)
	m.slots = zeroed[uint32](m.spill, max(1024, 2*old))
	for d := 1; d < len(m.dents); d++ {
		// In order, so that the newest of a name stays.
		m.slots[m.slot(m.dents[d].parent, m.strings.nameAt(m.dents[d].name))] = uint32(d)
	}
}
