package source

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"strings"
)

// A pathError tells which path of a tree an error is about.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// cut takes the first element off a clean path.
func cut(name string) (first, rest string) {
	first, rest, _ = strings.Cut(name, "/")
	return first, rest
}

// An OutsideError says that a path leads out of what may be copied from.
type OutsideError struct{ Path, Link, Target string }

func (e *OutsideError) Error() string {
	if e.Link == "" {
		return fmt.Sprintf("%s leads out of the build context", e.Path)
	}
	return fmt.Sprintf("%s leads to %s, a symlink to %s: not in the build context, and what is outside of it cannot be copied", e.Path, e.Link, e.Target)
}

// maxLinks is how many symlinks one path may lead through, as in Linux.
const maxLinks = 40

// resolve follows the symlinks of a path, as a process would that has the tree
// for its root: ".." of the root is the root. At the end of it, too.
func resolve(t Tree, name string) (*File, error) {
	var at, link, target string // clean so far; the symlink that was followed last
	links := 0
	rest := strings.Trim(path.Clean("/"+name), "/")
	for rest != "" {
		var base string
		base, rest = cut(rest)
		if base == ".." {
			at = parentOf(at)
			continue
		}
		next := path.Join(at, base)
		f, err := t.Lstat(next)
		if errors.Is(err, iofs.ErrNotExist) && link != "" && leavesRoot(link, target) {
			return nil, &OutsideError{name, link, target}
		}
		if err != nil {
			return nil, err
		}
		if !f.IsSymlink() {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%s: too many symlinks, one after the other", name)
		}
		link, target = next, f.Entry.Link
		rest = strings.Trim(joined(target, rest), "/")
		if path.IsAbs(target) {
			at = ""
		}
	}
	return t.Lstat(at)
}

// joined puts what remains of a path behind a symlink's target, with all the
// ".." of both, but without empty elements.
func joined(target, rest string) string {
	var elements []string
	for _, e := range strings.Split(target+"/"+rest, "/") {
		if e != "" && e != "." {
			elements = append(elements, e)
		}
	}
	return strings.Join(elements, "/")
}

func parentOf(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}

// leavesRoot reports whether a symlink would lead out of the tree if that were
// not taken for all there is.
func leavesRoot(link, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	to := path.Join(path.Dir(link), target)
	return to == ".." || strings.HasPrefix(to, "../")
}

// Place gives where a path leads in an image, for files that are to be put
// there: all symlinks are followed as far as there are any, and what is not there
// is taken as it is. The file is nil if nothing is there.
func Place(t Tree, name string) (clean string, f *File, err error) {
	links := 0
	rest := joined(name, "")
	at := ""
	for rest != "" {
		var base string
		base, rest = cut(rest)
		if base == ".." {
			at = parentOf(at)
			continue
		}
		next := path.Join(at, base)
		f, err := t.Lstat(next)
		if errors.Is(err, iofs.ErrNotExist) {
			at = next
			continue
		}
		if err != nil {
			return "", nil, err
		}
		if !f.IsSymlink() {
			if rest != "" && !f.IsDir() {
				return "", nil, &NotDirError{next}
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("%s: too many symlinks, one after the other", name)
		}
		rest = joined(f.Entry.Link, rest)
		if path.IsAbs(f.Entry.Link) {
			at = ""
		}
	}
	f, err = t.Lstat(at)
	if errors.Is(err, iofs.ErrNotExist) {
		return at, nil, nil
	}
	return at, f, err
}

// A NotDirError says that there is something else where a directory would have
// to be.
type NotDirError struct{ Path string }

func (e *NotDirError) Error() string { return "/" + e.Path + " is no directory in the image" }
