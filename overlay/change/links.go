package change

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mica/overlay"
	"mica/overlay/diff"
)

// A group is a file of the union that has several names, or that the image has
// under several.
type group struct {
	id      overlay.NodeID // in the union
	members []member
}

// A member is one of its names that the walk has come to.
type member struct {
	dir    *directory
	change *Change
}

// gather keeps a name of such a file until all are known.
func (w *walk) gather(d *directory, c *Change) error {
	if c.From == nil || c.What != 0 {
		// Now, while it is in order; if the name alone is changed it is later.
		if err := w.tell(d); err != nil {
			return err
		}
	}
	id := c.To.Ref.(overlay.NodeID)
	g := w.groups[id]
	if g == nil {
		g = &group{id: id}
		w.groups[id] = g
	}
	g.members = append(g.members, member{d, c})
	return nil
}

// links tells of the groups, in the order of their first names.
func (w *walk) links() error {
	groups := make([]*group, 0, len(w.groups))
	for _, g := range w.groups {
		if err := w.complete(g); err != nil {
			return err
		}
		if same, err := w.unchanged(g); err != nil || same {
			if err != nil {
				return err
			}
			continue
		}
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return strings.Compare(a.members[0].change.Path, b.members[0].change.Path)
	})
	for _, g := range groups {
		for i, m := range g.members {
			if i > 0 {
				m.change.Link = g.members[0].change.Path
			}
			if err := w.change(m.dir, m.change); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete adds the names that the walk has passed over, as the image has them
// just there: of a file that has a name in a directory that was moved.
func (w *walk) complete(g *group) error {
	in, ok, err := w.t.union.InImage(g.id)
	if err != nil || !ok {
		return err
	}
	names, err := w.t.image.Links(in)
	if err != nil {
		return err
	}
	for _, l := range names {
		path, err := w.t.image.Path(l.Dir)
		if err != nil {
			return err
		}
		path = strings.Trim(path+"/"+l.Name, "/")
		if slices.ContainsFunc(g.members, func(m member) bool { return m.change.Path == path }) {
			continue
		}
		d, f, err := w.find(path)
		if err != nil {
			return err
		}
		if f == nil || f.to.Ref != g.id {
			continue
		}
		g.members = append(g.members, member{d, &Change{Change: diff.Change{Path: path, From: f.from, To: f.to}}})
	}
	slices.SortFunc(g.members, func(a, b member) int { return cmp.Compare(a.change.Path, b.change.Path) })
	return nil
}

// find gives what the union has at a path and the directory that it is in, nil
// if nothing.
func (w *walk) find(path string) (in, at *directory, err error) {
	if path == "" {
		return nil, w.top, nil
	}
	if d := w.found[path]; d != nil {
		return d.parent, d, nil
	}
	up, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		up, name = path[:i], path[i+1:]
	}
	_, in, err = w.find(up)
	if in == nil || err != nil {
		return nil, nil, err
	}
	at = &directory{parent: in, path: path}
	if at.to, err = w.lookup(w.t.union, in.to, name); at.to == nil || err != nil {
		return nil, nil, err
	}
	if at.from, err = w.lookup(w.t.image, in.from, name); err != nil {
		return nil, nil, err
	}
	w.t.own(at.to, at.from)
	if at.from != nil {
		at.what, _ = diff.Differences(at.from, at.to)
	}
	w.found[path] = at
	return in, at, nil
}

// lookup gives what a directory of one of the trees has under a name, nil if
// nothing.
func (w *walk) lookup(tree overlay.Lower, dir *diff.File, name string) (*diff.File, error) {
	if dir == nil {
		return nil, nil
	}
	a, err := tree.Lookup(dir.Ref.(overlay.NodeID), name)
	if notExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", name, err)
	}
	return file(tree, name, a)
}

// unchanged reports whether the names of a file are, without the change, names
// of one file that is the same.
func (w *walk) unchanged(g *group) (bool, error) {
	first := g.members[0].change.From
	for _, m := range g.members {
		if c := m.change; c.From == nil || c.What != 0 || c.From.Ref != first.Ref {
			return false, nil
		}
	}
	names, err := w.t.image.Links(first.Ref.(overlay.NodeID))
	if err != nil {
		return false, err
	}
	for _, l := range names {
		path, err := w.t.image.Path(l.Dir)
		if err != nil {
			return false, err
		}
		// One that stays, and is not of this file any more, would be again.
		_, f, err := w.find(strings.Trim(path+"/"+l.Name, "/"))
		if err != nil {
			return false, err
		}
		if f != nil && f.to.Ref != g.id {
			return false, nil
		}
	}
	return true, nil
}
