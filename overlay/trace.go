package overlay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A Deed is what a layer does to a path.
type Deed uint8

const (
	Added       Deed = iota + 1 // there was nothing
	Changed                     // there was something else; of a directory, its metadata
	MadeOpaque                  // a directory that no longer shows what lower layers have in it
	Deleted                     // by a whiteout of just this path
	HiddenAbove                 // together with a directory above it
)

func (d Deed) String() string {
	if d < Added || d > HiddenAbove {
		return "nothing"
	}
	return [...]string{"added", "changed", "made opaque", "deleted", "hidden"}[d-Added]
}

// A Version is what one layer has done at a path, and what was there then.
type Version struct {
	Layer int // from 0 at the bottom
	Did   Deed
	// By is, for HiddenAbove, the directory above that was deleted, made opaque or
	// replaced by something else.
	By string
	// Implied says that the layer has files below the path but no entry of the
	// directory itself.
	Implied bool
	// Link is the other path, in this layer or below, that the entry is a hard
	// link to: the layer holds no data for it then.
	Link string

	// What is there since; zero where nothing is.
	Mode   uint32
	Size   int64  // bytes
	Target string // of a symlink

	Shown bool // no layer above does anything to it
	// Wasted is how many bytes of the layer hold contents that the image does
	// not show, at this path or any other.
	Wasted int64
}

// Trace tells for each path what layers have done there, the lowest first,
// and leaves out the layers that have done nothing. Paths are clean, without a
// slash at the front; none leads through a symlink.
//
// It merges the layers anew and looks after each mark and each entry what has
// come of it, so that it cannot be of another opinion than [Merge].
func Trace(layers []LayerSource, paths []string) (versions [][]Version, err error) {
	if len(paths) == 0 {
		return nil, nil
	}
	m := newMerger(os.TempDir())
	defer func() { err = errors.Join(err, m.close()) }()
	tracers := make([]*tracer, len(paths))
	for i, p := range paths {
		tracers[i] = &tracer{m: m, path: p}
	}
	for i, l := range layers {
		for _, t := range tracers {
			t.begin()
		}
		if err := m.apply(i, watched{l, tracers}); err != nil {
			return nil, &LayerError{Layer: i, Err: err}
		}
		for _, t := range tracers {
			t.end()
		}
	}
	alive := m.living()
	all := make([][]Version, len(paths))
	for i, t := range tracers {
		all[i] = t.finish(alive)
	}
	return all, nil
}

// Trace tells for each path what the image's layers have done there; see the
// function of that name. Paths are as for [Tree.Lstat].
func (img *Image) Trace(ctx context.Context, paths []string) ([][]Version, error) {
	clean := make([]string, len(paths))
	for i, p := range paths {
		var err error
		if clean[i], err = img.TruePath(p); err != nil {
			return nil, err
		}
	}
	indexes, err := openIndexes(ctx, img.store, img.specs)
	if err != nil {
		return nil, err
	}
	versions, err := Trace(indexes.sources(), clean)
	return versions, errors.Join(err, indexes.close())
}

// A watched layer shows the tracers what has come of each of its entries.
type watched struct {
	src     LayerSource
	tracers []*tracer
}

func (w watched) Markers() iter.Seq2[*toc.Entry, error] { return w.watch(w.src.Markers()) }
func (w watched) Entries() iter.Seq2[*toc.Entry, error] { return w.watch(w.src.Entries()) }

func (w watched) watch(entries iter.Seq2[*toc.Entry, error]) iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		for e, err := range entries {
			dents := 0
			if err == nil {
				dents = len(w.tracers[0].m.dents)
			}
			if !yield(e, err) {
				return
			}
			for _, t := range w.tracers {
				t.after(e, dents)
			}
		}
	}
}

// A tracer follows one path through the layers.
type tracer struct {
	m        *merger
	path     string
	versions []tracedVersion
	now      traced // what is at the path

	// Of the layer being applied.
	before traced
	cause  toc.Entry // what made now of it
	opaque bool
	link   string // an entry of the path is a hard link to it
}

// A traced is what is at a path.
type traced struct {
	there   bool
	dent    uint32
	inode   uint32
	row     inode
	implied bool
}

type tracedVersion struct {
	Version
	inode uint32
	data  int64 // bytes that the layer holds for it
}

func (t *tracer) look() traced {
	d, ok := t.m.find(t.path)
	if !ok {
		return traced{}
	}
	in := t.m.dents[d].inode
	return traced{there: true, dent: d, inode: in, row: t.m.inodes[in]}
}

func (t *tracer) begin() {
	t.now = t.look()
	t.before, t.cause, t.opaque, t.link = t.now, toc.Entry{}, false, ""
}

// after sees what has come of an entry, before which there were so many dents.
func (t *tracer) after(e *toc.Entry, dents int) {
	if e.Path == t.path {
		t.opaque = t.opaque || e.Type == toc.Opaque
		if e.Type == toc.Hardlink {
			t.link = e.Link
		}
	}
	was := t.now
	was.implied = false
	now := t.look()
	if now == was {
		return
	}
	// What an entry stands for is the last of the dents that it makes; those
	// before it are directories on the way.
	fresh := now.there && int(now.dent) >= dents
	now.implied = fresh && (int(now.dent) != len(t.m.dents)-1 || e.Type == toc.Hardlink && t.m.isDir(now.dent))
	t.now, t.cause = now, *e
}

// end notes what the layer has done.
func (t *tracer) end() {
	if now := t.look(); now.inode != t.now.inode || now.there != t.now.there {
		// A link that came before its target.
		t.now, t.cause = now, toc.Entry{Type: toc.Hardlink, Path: t.path, Link: t.link}
	}
	v := tracedVersion{Version: Version{Layer: t.m.layer}, inode: t.now.inode}
	emptied := t.before.there && t.now.there && t.m.isDir(t.before.dent) && t.m.isDir(t.now.dent) &&
		(t.opaque || t.before.dent != t.now.dent)
	switch {
	case t.before == t.now && !emptied:
		return
	case !t.now.there && t.cause.Path == t.path && t.cause.Type == toc.Whiteout:
		v.Did = Deleted
	case !t.now.there:
		v.Did, v.By = HiddenAbove, t.cause.Path
	case emptied:
		v.Did = MadeOpaque
	case t.before.there:
		v.Did = Changed
	default:
		v.Did = Added
	}
	if t.now.there {
		v.Implied = t.now.implied
		v.Mode = t.m.kind(t.now.dent) | t.m.metas.list[t.now.row.meta].mode
		switch {
		case t.cause.Type == toc.Hardlink && !v.Implied:
			v.Link = t.cause.Link
		case v.Mode&unix.S_IFMT == unix.S_IFREG:
			v.data = t.cause.DataLen()
		}
		switch v.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			v.Size = int64(t.now.row.size)
		case unix.S_IFLNK:
			v.Target = t.m.target(t.now.dent)
		}
	}
	t.versions = append(t.versions, v)
}

// finish gives what was noted, now that it is known which inodes are shown.
func (t *tracer) finish(alive []bool) []Version {
	all := make([]Version, len(t.versions))
	for i, v := range t.versions {
		all[i] = v.Version
		there := v.Did != Deleted && v.Did != HiddenAbove
		all[i].Shown = there && i == len(t.versions)-1
		if there && !alive[v.inode] {
			all[i].Wasted = v.data
		}
	}
	return all
}

// living says of each inode whether a name leads to it.
func (m *merger) living() []bool {
	alive := make([]bool, len(m.inodes))
	hidden := m.hiders()
	for d := range m.dents {
		if hidden[d] == 0 {
			alive[m.dents[d].inode] = true
		}
	}
	return alive
}

// hiders gives for each dent the first layer, plus one, that hid it, by itself
// or with a directory above it; 0 is nobody.
func (m *merger) hiders() []uint16 {
	hidden := make([]uint16, len(m.dents))
	for d := range m.dents {
		// A parent is older than what is in it.
		hidden[d] = firstOf(m.dents[d].dead, hidden[m.dents[d].parent])
	}
	return hidden
}

func firstOf(a, b uint16) uint16 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// TruePath gives the clean path of a name without symlinks on the way to it,
// for a path as [Tree.Lstat] takes it. Where the directories on the way are
// not in the tree, it is the path as it stands: a lower layer may have had
// them.
func (t *Tree) TruePath(path string) (string, error) {
	path = strings.Trim(path, "/")
	dir, base := splitPath(path)
	if base == "." || base == ".." {
		dir, base = path, ""
	}
	a, err := t.Stat(dir)
	if err != nil || a.Mode&unix.S_IFMT != unix.S_IFDIR {
		return cleanPath(path), nil
	}
	names := []string{base}
	if base == "" {
		names = nil
	}
	for id := a.ID; id != Root; {
		parent, err := t.Parent(id)
		if err != nil {
			return "", err
		}
		name, err := t.nameIn(parent, id)
		if err != nil {
			return "", err
		}
		names = append(names, name)
		id = parent
	}
	slices.Reverse(names)
	return strings.Join(names, "/"), nil
}

// nameIn gives the name of a node in the directory that it lies in.
func (t *Tree) nameIn(dir, id NodeID) (found string, err error) {
	err = t.ReadDir(dir, 0, func(name string, n NodeID, _ uint64) bool {
		if n == id {
			found = name
		}
		return n != id
	})
	if err == nil && found == "" {
		err = t.bad(fmt.Sprintf("node %d is not in its parent", id))
	}
	return found, err
}

// cleanPath takes out of a path what does not change where it leads, as far as
// that can be said without looking.
func cleanPath(path string) string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case "", ".":
		case "..":
			names = names[:max(len(names)-1, 0)]
		default:
			names = append(names, name)
		}
	}
	return strings.Join(names, "/")
}
