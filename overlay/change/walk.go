package change

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/diff"
)

// A Change is a path at which the union differs from the image. The letter of
// one that has both a From and a To, with nothing in What, is of a directory
// that only holds changes, or of a file with another name that is changed.
type Change struct {
	diff.Change
	// Link is the path, told before, of the same file under another name; "" is
	// the first of its names, or the only one.
	Link string
}

// Walk calls visit for all changes, in the order of the package document. An
// error of visit ends it.
func (t *Tree) Walk(ctx context.Context, visit func(c *Change) error) error {
	w := &walk{ctx: ctx, t: t, visit: visit, groups: map[overlay.NodeID]*group{}, found: map[string]*directory{}}
	from, err := t.root(t.image)
	if err != nil {
		return err
	}
	to, err := t.root(t.union)
	if err != nil {
		return err
	}
	t.own(to, from)
	top := &directory{from: from, to: to}
	w.top = top
	top.what, _ = diff.Differences(from, to)
	if top.what != 0 {
		if err := w.tell(top); err != nil {
			return err
		}
	}
	if err := w.children(top, overlay.Root, overlay.Root); err != nil {
		return err
	}
	return w.links()
}

func (t *Tree) root(tree overlay.Lower) (*diff.File, error) {
	a, err := tree.Attr(overlay.Root)
	if err != nil {
		return nil, err
	}
	return file(tree, "", a)
}

// A walk is the work of one Walk.
type walk struct {
	ctx    context.Context // of the call
	t      *Tree
	visit  func(*Change) error
	groups map[overlay.NodeID]*group // of files with several names, by their number in the union
	top    *directory
	found  map[string]*directory // by path, where hard links are
	x, y   []byte                // for contents
}

// A directory is one that the walk is in, or that a hard link lies in.
type directory struct {
	parent   *directory // nil for the root
	path     string
	from, to *diff.File
	what     diff.Aspects
	told     bool
}

// tell tells of a directory, before it of those that it lies in. The root alone
// is told only if it is changed itself: each layer has one.
func (w *walk) tell(d *directory) error {
	if d.told || d.parent == nil && d.what == 0 {
		return nil
	}
	if d.parent != nil {
		if err := w.tell(d.parent); err != nil {
			return err
		}
	}
	d.told = true
	return w.visit(&Change{Change: diff.Change{Path: d.path, From: d.from, To: d.to, What: d.what}})
}

// A child is a name in a directory of either side.
type child struct {
	name string
	attr overlay.Attr
}

// list gives the names of a directory, sorted; of node 0 none.
func list(tree overlay.Lower, dir overlay.NodeID) (names []child, err error) {
	if dir == 0 {
		return nil, nil
	}
	err = tree.ReadDir(dir, 0, func(name string, a overlay.Attr, _ uint64) bool {
		names = append(names, child{name, a})
		return true
	})
	slices.SortFunc(names, func(a, b child) int { return strings.Compare(a.name, b.name) })
	return names, err
}

// children compares what is in a directory: to is its number in the union, from
// in the image, 0 if that has no directory there.
func (w *walk) children(d *directory, to, from overlay.NodeID) error {
	now, err := list(w.t.union, to)
	if err != nil {
		return fmt.Errorf("/%s: %w", d.path, err)
	}
	before, err := list(w.t.image, from)
	if err != nil {
		return fmt.Errorf("/%s: %w", d.path, err)
	}
	for len(now) > 0 || len(before) > 0 {
		var to, from *child
		if len(before) == 0 || len(now) > 0 && now[0].name <= before[0].name {
			to, now = &now[0], now[1:]
		}
		if len(before) > 0 && (to == nil || to.name == before[0].name) {
			from, before = &before[0], before[1:]
		}
		if err := w.pair(d, to, from); err != nil {
			return err
		}
	}
	return nil
}

// pair compares what the sides have under a name.
func (w *walk) pair(d *directory, to, from *child) (err error) {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	name := to
	if name == nil {
		name = from
	}
	c := &Change{Change: diff.Change{Path: strings.TrimPrefix(d.path+"/"+name.name, "/")}}
	if to != nil && from != nil {
		// The usual case: nothing but the image is here.
		in, ok, err := w.t.union.InImage(to.attr.ID)
		if err != nil || ok && in == from.attr.ID {
			return err
		}
	}
	if from != nil {
		if c.From, err = file(w.t.image, from.name, from.attr); err != nil {
			return fmt.Errorf("/%s: %w", c.Path, err)
		}
	}
	if to == nil {
		return w.change(d, c)
	}
	if c.To, err = file(w.t.union, to.name, to.attr); err != nil {
		return fmt.Errorf("/%s: %w", c.Path, err)
	}
	w.t.own(c.To, c.From)
	if c.From != nil {
		if err := w.compare(c); err != nil {
			return err
		}
	}
	if to.attr.Mode&unix.S_IFMT == unix.S_IFDIR {
		return w.directory(d, c, to, from)
	}
	if to.attr.Nlink > 1 || from != nil && from.attr.Nlink > 1 && c.What&diff.Type == 0 {
		return w.gather(d, c)
	}
	if c.From != nil && c.What == 0 {
		return nil
	}
	return w.change(d, c)
}

// change tells of a change in a directory.
func (w *walk) change(d *directory, c *Change) error {
	if err := w.tell(d); err != nil {
		return err
	}
	return w.visit(c)
}

// compare fills in what differs. Contents are read if nothing else does.
func (w *walk) compare(c *Change) error {
	var undecided bool
	if c.What, undecided = diff.Differences(c.From, c.To); c.What != 0 || !undecided {
		return nil
	}
	if w.x == nil {
		w.x, w.y = make([]byte, diff.ReadLen), make([]byte, diff.ReadLen)
	}
	same, err := diff.SameContents(w.ctx, w.t.From(), w.t.To(), &c.Change, w.x, w.y)
	if err != nil {
		return fmt.Errorf("/%s: %w", c.Path, err)
	}
	if !same {
		c.What = diff.Content
	}
	return nil
}

// directory goes on below one that the union has.
func (w *walk) directory(d *directory, c *Change, to, from *child) error {
	sub := &directory{parent: d, path: c.Path, from: c.From, to: c.To, what: c.What}
	if c.From == nil || c.What != 0 {
		if err := w.tell(sub); err != nil {
			return err
		}
	}
	before := overlay.NodeID(0)
	if from != nil && from.attr.Mode&unix.S_IFMT == unix.S_IFDIR {
		before = from.attr.ID
	}
	return w.children(sub, to.attr.ID, before)
}

// notExist reports whether an error says that there is nothing of a name.
func notExist(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || errors.Is(err, overlay.ErrNotDir)
}
