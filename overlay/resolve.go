package overlay

import (
	"errors"
	iofs "io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSymlinks is how many symlinks one path may lead through, as the kernel
// has it (path_resolution(7)).
const maxSymlinks = 40

// Stat gives the attributes of what is at a path, in the end: a symlink is
// followed, inside the image only, as a process would that has it for its
// root. A path need not begin with a slash; "" is the root.
//
// A path that leads nowhere is ENOENT, which matches [io/fs.ErrNotExist]; one
// through a file that is no directory is [ErrNotDir], one through too many
// symlinks ELOOP.
func (t *Tree) Stat(path string) (Attr, error) { return t.resolve(path, true) }

// Lstat is Stat but for a symlink at the end of the path, which it does not
// follow, unless a slash comes after it.
func (t *Tree) Lstat(path string) (Attr, error) { return t.resolve(path, false) }

// resolve follows path_resolution(7), but for permissions: to read an image
// is to read all of it.
func (t *Tree) resolve(path string, followLast bool) (Attr, error) {
	at, err := t.Attr(Root)
	if err != nil {
		return Attr{}, err
	}
	dir := Root // the last directory on the way
	follows := 0
	for rest := path; rest != ""; {
		var name string
		var slash bool
		name, rest, slash = strings.Cut(rest, "/")
		if at.Mode&unix.S_IFMT != unix.S_IFDIR {
			return Attr{}, ErrNotDir
		}
		dir = at.ID
		if at, err = t.step(dir, name); err != nil {
			return Attr{}, err
		}
		if at.Mode&unix.S_IFMT != unix.S_IFLNK || !slash && !followLast {
			if slash && at.Mode&unix.S_IFMT != unix.S_IFDIR {
				return Attr{}, ErrNotDir // also when nothing comes after the slash
			}
			continue
		}
		if follows++; follows > maxSymlinks {
			return Attr{}, unix.ELOOP
		}
		target, err := t.Readlink(at.ID)
		if err != nil {
			return Attr{}, err
		}
		if target == "" {
			return Attr{}, unix.ENOENT
		}
		if strings.HasPrefix(target, "/") {
			dir = Root
		}
		if at, err = t.Attr(dir); err != nil {
			return Attr{}, err
		}
		if slash {
			target += "/"
		}
		rest = target + rest
	}
	return at, nil
}

// step gives what an element of a path means in a directory.
func (t *Tree) step(dir NodeID, name string) (Attr, error) {
	var id NodeID
	var err error
	switch name {
	case "", ".":
		id = dir
	case "..":
		id, err = t.Parent(dir)
	default:
		id, err = t.Lookup(dir, name)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return Attr{}, unix.ENOENT // says it in the words that ls(1) has
	}
	if err != nil {
		return Attr{}, err
	}
	return t.Attr(id)
}
