package source

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"

	"mica/layerstore/toc"
)

// Empty is the tree of an image without layers.
type Empty struct{ Tree }

// Lstat knows the root alone.
func (Empty) Lstat(name string) (*File, error) {
	if name != "" {
		return nil, &pathError{name, iofs.ErrNotExist}
	}
	return &File{Entry: toc.Entry{Type: toc.Dir, Mode: 0o755}}, nil
}

// Xattrs gives none.
func (Empty) Xattrs(*File) ([]toc.Xattr, error) { return nil, nil }

// A Layout is where items go in an image: their paths without a symlink on the
// way, and the directories that they need.
type Layout struct {
	// Items are those of the request, at their true paths.
	Items []Item
	// Dirs are the directories above them, in the order of their paths: those of
	// the image as they are there, and those that are to be made.
	Dirs []toc.Entry
	// Made are the paths of those that are to be made.
	Made map[string]bool
}

// Lay places items in an image. A directory that is made belongs to owner, nil
// being root.
func Lay(image Tree, items []Item, owner *Owner) (*Layout, error) {
	l := &layouter{image: image, owner: owner, trueOf: map[string]string{}, dirs: map[string]bool{}}
	l.Made = map[string]bool{}
	for _, it := range items {
		if err := l.place(it); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.Dirs, func(a, b toc.Entry) int { return strings.Compare(a.Path, b.Path) })
	slices.SortStableFunc(l.Items, func(a, b Item) int { return strings.Compare(a.Path, b.Path) })
	// A directory of the request is told by its item alone.
	own := map[string]bool{}
	for _, it := range l.Items {
		own[it.Path] = true
	}
	l.Dirs = slices.DeleteFunc(l.Dirs, func(e toc.Entry) bool { return own[e.Path] })
	return &l.Layout, nil
}

type layouter struct {
	Layout
	image  Tree
	owner  *Owner
	trueOf map[string]string // of directories: where they lie in truth
	dirs   map[string]bool   // that are in Dirs
}

// place puts one item where it goes.
func (l *layouter) place(it Item) error {
	at := ""
	if it.Path != "" {
		dir, err := l.dir(parentOf(it.Path))
		if err != nil {
			return err
		}
		at = path.Join(dir, path.Base(it.Path))
	}
	if it.IsDir() {
		to, there, err := Place(l.image, at)
		if err != nil {
			return err
		}
		if there != nil && !there.IsDir() {
			return fmt.Errorf("/%s is there and no directory: a directory cannot replace it", to)
		}
		l.trueOf[it.Path] = to
		if it.Implied {
			_, err := l.dir(it.Path)
			return err
		}
		it.Path = to
	} else {
		there, err := l.image.Lstat(at)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
		if err == nil && there.IsDir() {
			return fmt.Errorf("/%s is a directory: a file cannot replace it", at)
		}
		it.Path = at
	}
	l.Items = append(l.Items, it)
	return nil
}

// dir gives where a directory lies in truth, and has it and those above it told.
func (l *layouter) dir(name string) (string, error) {
	to, known := l.trueOf[name]
	if !known {
		var err error
		if name != "" {
			if to, err = l.dir(parentOf(name)); err != nil {
				return "", err
			}
			to = path.Join(to, path.Base(name))
		}
		var there *File
		if to, there, err = Place(l.image, to); err != nil {
			return "", err
		}
		if there != nil && !there.IsDir() {
			return "", &NotDirError{to}
		}
		l.trueOf[name] = to
	}
	return to, l.tell(to)
}

// tell adds a directory, whose path is true, and those above it.
func (l *layouter) tell(name string) error {
	// The root is always there, and stays as it is.
	if l.dirs[name] || name == "" {
		return nil
	}
	l.dirs[name] = true
	if err := l.tell(parentOf(name)); err != nil {
		return err
	}
	f, err := l.image.Lstat(name)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err != nil {
		e := toc.Entry{Path: name, Type: toc.Dir, Mode: 0o755}
		if l.owner != nil {
			e.UID, e.GID = l.owner.UID, l.owner.GID
		}
		l.Dirs, l.Made[name] = append(l.Dirs, e), true
		return nil
	}
	e := f.Entry
	if e.Xattrs, err = l.image.Xattrs(f); err != nil {
		return err
	}
	l.Dirs = append(l.Dirs, e)
	return nil
}
