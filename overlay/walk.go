package overlay

import (
	"errors"
	iofs "io/fs"

	"golang.org/x/sys/unix"
)

// A Visit is what Walk tells of one name.
type Visit struct {
	Path  string // the start of the walk, and below it, "/" between
	Name  string // the last element; of the start, "" unless the caller knows better
	Depth int    // 0 is the start
	Attr  Attr
}

// Walk calls visit for a node, told as path, and all below it: a directory
// before its children, those in the order of the bytes of their names.
// Symlinks are not followed. If visit gives [io/fs.SkipDir], the children are
// left out; any other error ends the walk and is given back, [io/fs.SkipAll]
// as nil.
//
// What Walk needs grows with the depth of the tree, not with its size.
func (t *Tree) Walk(path string, id NodeID, visit func(v *Visit) error) error {
	a, err := t.Attr(id)
	if err != nil {
		return err
	}
	err = t.walk(path, a, visit)
	if errors.Is(err, iofs.SkipAll) || errors.Is(err, iofs.SkipDir) {
		return nil
	}
	return err
}

// An openDir is a directory that a walk is in.
type openDir struct {
	id     NodeID
	path   string // with a slash at the end
	cookie uint64 // of the child that comes next
}

func (t *Tree) walk(path string, start Attr, visit func(v *Visit) error) error {
	if err := visit(&Visit{Path: path, Attr: start}); err != nil || start.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	stack := []openDir{{id: start.ID, path: withSlash(path)}}
	for len(stack) > 0 {
		// Reading goes on until the directory has a child to enter.
		d := &stack[len(stack)-1]
		var enter openDir
		var failed error
		err := t.ReadDir(d.id, d.cookie, func(name string, id NodeID, next uint64) bool {
			d.cookie = next
			v := Visit{Path: d.path + name, Name: name, Depth: len(stack)}
			if v.Attr, failed = t.Attr(id); failed != nil {
				return false
			}
			failed = visit(&v)
			isDir := v.Attr.Mode&unix.S_IFMT == unix.S_IFDIR
			switch {
			case failed == iofs.SkipDir:
				failed = nil
			case failed == nil && isDir && id <= d.id:
				failed = t.bad("a directory that lies in itself")
			case failed == nil && isDir:
				enter = openDir{id: id, path: v.Path + "/"}
			}
			return failed == nil && enter.id == 0
		})
		switch {
		case failed != nil:
			return failed
		case err != nil:
			return err
		case enter.id != 0:
			stack = append(stack, enter)
		default:
			stack = stack[:len(stack)-1]
		}
	}
	return nil
}

// withSlash ends a path in exactly one more element to come: "" stays "".
func withSlash(path string) string {
	if path == "" || path[len(path)-1] == '/' {
		return path
	}
	return path + "/"
}
