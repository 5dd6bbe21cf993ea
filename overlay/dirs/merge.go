package dirs

import (
	"errors"
	iofs "io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A search goes down through the layers for what a directory or file of one of
// them is merged with. It looks for one name in the folders of a directory; or,
// after an absolute redirect, for a path in each layer, where directories on the
// way may be opaque or redirected themselves.
type search struct {
	folders []folder // where to look yet: folders of the directory, or roots
	roots   []folder // of all layers
	path    []string // in each of folders
}

// newSearch looks below the folder d.stack[at] for a name.
func newSearch(u *Union, d *dir, at int, name string) *search {
	return &search{folders: d.stack[at+1:], roots: u.roots, path: []string{name}}
}

// apply does what a directory or file that was found says of those below. from
// is the level of its layer.
func (s *search) apply(m merging, from int) {
	switch {
	case m.opaque:
		s.folders = nil
	case m.redirect == "":
	case m.redirect[0] == '/':
		s.path = strings.Split(m.redirect[1:], "/")
		s.folders = s.roots[from+1:]
	default:
		s.path = append(slices.Clone(s.path[:len(s.path)-1]), m.redirect)
	}
}

// next gives the next folder that has a file or directory of the name that is
// sought, with its kind (S_IFMT). The folder is nil if there is none any more.
func (s *search) next() (f folder, name string, kind uint32, err error) {
	for len(s.folders) > 0 {
		f = s.folders[0]
		s.folders = s.folders[1:]
		name = s.path[len(s.path)-1]
		if f, err = s.descend(f); err != nil {
			return nil, "", 0, err
		}
		if f == nil {
			continue
		}
		a, whiteout, err := f.stat(name)
		switch {
		case errors.Is(err, iofs.ErrNotExist):
			continue
		case err != nil:
			return nil, "", 0, err
		case whiteout:
			s.folders = nil
			return nil, "", 0, nil
		}
		return f, name, a.Mode & unix.S_IFMT, nil
	}
	return nil, "", 0, nil
}

// descend goes to the directory that the path leads to in a layer, nil if there
// is none. What the directories on the way say holds for the layers below, and
// what is no directory ends the search.
func (s *search) descend(f folder) (folder, error) {
	way, last := s.path[:len(s.path)-1], s.path[len(s.path)-1]
	if len(way) == 0 {
		return f, nil
	}
	below := &search{folders: s.folders, roots: s.roots} // path is that of f so far
	for _, name := range way {
		a, whiteout, err := f.stat(name)
		if errors.Is(err, iofs.ErrNotExist) {
			f = nil
			break
		}
		if err != nil {
			return nil, err
		}
		if whiteout || a.Mode&unix.S_IFMT != unix.S_IFDIR {
			s.folders = nil
			return nil, nil
		}
		var m merging
		if f, m, err = f.sub(name); err != nil {
			return nil, err
		}
		below.path = append(below.path, name)
		below.apply(m, f.level())
	}
	s.folders = below.folders
	if f != nil {
		s.path = append(below.path, last)
	}
	return f, nil
}

// merge gives the folders of a directory, which is name in parent.stack[at].
func (u *Union) merge(parent *dir, at int, name string) ([]folder, error) {
	f, m, err := parent.stack[at].sub(name)
	if err != nil {
		return nil, err
	}
	stack := []folder{f}
	s := newSearch(u, parent, at, name)
	for {
		s.apply(m, f.level())
		var in folder
		var kind uint32
		if in, name, kind, err = s.next(); in == nil || err != nil || kind != unix.S_IFDIR {
			return stack, err
		}
		if f, m, err = in.sub(name); err != nil {
			return nil, err
		}
		stack = append(stack, f)
	}
}

// contents gives the file that has the contents of one, which is another if that
// is metadata alone.
func (u *Union) contents(at spot, f file) (file, error) {
	level := at.dir.stack[at.at].level()
	s := newSearch(u, at.dir, at.at, at.name)
	for {
		alone, m, err := f.metacopy()
		if err != nil || !alone {
			return f, err
		}
		s.apply(m, level)
		in, name, kind, err := s.next()
		if err != nil {
			return nil, err
		}
		if in == nil || kind != unix.S_IFREG {
			return nil, errNoContents
		}
		a, _, err := in.stat(name)
		if err != nil {
			return nil, err
		}
		f, level = in.file(name, a.ID), in.level()
	}
}

// errNoContents is EIO to who reads.
var errNoContents = errors.New("metadata alone, and no layer below has the contents")
