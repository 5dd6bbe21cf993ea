package source

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"

	"mica/layerstore/toc"
)

// A Request is what a COPY asks for.
type Request struct {
	Sources []string // paths and patterns
	Exclude []string // patterns of what is left out
	Parents bool     // keep the directories of the sources (--parents)
	// Dest is where the files go: a clean path in the image, without a slash at
	// the front.
	Dest string
	// DestDir says that Dest is a directory: it ends with a slash or is one.
	DestDir bool
}

// An Item is a file and where it goes.
type Item struct {
	*File
	Path string // in the image, clean, without a slash at the front
	// Implied is set of a directory that files are copied into: if there is one
	// already, that keeps its metadata.
	Implied bool
}

// ErrNothing says that no source of a COPY is there.
var ErrNothing = errors.New("no source")

// A MissingError says that a source is not there.
type MissingError struct {
	Source string // as it is in the instruction
	Err    error
}

func (e *MissingError) Error() string {
	var ignored *IgnoredError
	var outside *OutsideError
	switch {
	case errors.As(e.Err, &outside):
		return outside.Error()
	case errors.As(e.Err, &ignored):
		return e.Source + ": left out by .dockerignore"
	}
	return e.Source + ": no such file or directory"
}
func (e *MissingError) Unwrap() error { return e.Err }

// A SocketError says that a file cannot be in an image.
type SocketError struct{ Path string }

func (e *SocketError) Error() string {
	return e.Path + ": a socket, which cannot be in an image; leave it out by .dockerignore or --exclude"
}

// Select finds the files of a request, sorted by the bytes of their paths in
// the image. Of two for one path the later source's is taken.
func Select(ctx context.Context, t Tree, r Request) ([]Item, error) {
	s := &selector{ctx: ctx, t: t, r: r, at: map[string]int{}}
	var err error
	if s.excluded, err = excluder(r.Exclude); err != nil {
		return nil, err
	}
	matches, err := s.matches()
	if err != nil {
		return nil, err
	}
	if (len(matches) > 1 || len(r.Sources) > 1) && !r.DestDir && !r.Parents {
		return nil, errors.New("several sources need a directory to go to: end it with a slash")
	}
	for _, m := range matches {
		if err := s.add(m); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.items, func(a, b Item) int { return strings.Compare(a.Path, b.Path) })
	return s.items, nil
}

type selector struct {
	ctx      context.Context // of Select
	t        Tree
	r        Request
	excluded func(fromRoot, fromSource string) (bool, error)
	items    []Item
	at       map[string]int // of the items, by Path
}

// A match is a source that was found.
type match struct {
	*File
	base string // the name that it is copied under
	// kept is, with --parents, the path that is kept, and pivot what it begins at.
	kept, pivot string
}

func (s *selector) matches() ([]match, error) {
	var found []match
	for _, source := range s.r.Sources {
		m, err := s.one(source)
		if err != nil {
			return nil, err
		}
		found = append(found, m...)
	}
	if len(found) == 0 && len(s.r.Sources) > 0 {
		return nil, &MissingError{strings.Join(s.r.Sources, " "), ErrNothing}
	}
	return found, nil
}

// one finds what one source means. A pattern may mean nothing.
func (s *selector) one(source string) ([]match, error) {
	if escapes(source) {
		return nil, &MissingError{source, &OutsideError{Path: source}}
	}
	clean := strings.Trim(path.Clean("/"+source), "/")
	pivot := ""
	if s.r.Parents {
		if before, _, ok := strings.Cut("/"+source, "/./"); ok {
			pivot = strings.Trim(path.Clean("/"+before), "/")
		}
	}
	if !wild(clean) {
		f, err := s.literal(clean)
		if err != nil {
			if errors.Is(err, iofs.ErrNotExist) || errors.As(err, new(*OutsideError)) {
				err = &MissingError{source, err}
			}
			return nil, err
		}
		return []match{{f, path.Base("/" + clean), clean, pivot}}, nil
	}
	files, err := glob(s.t, clean, s.r.Parents)
	if err != nil {
		return nil, err
	}
	found := make([]match, len(files))
	for i, f := range files {
		at := f.Entry.Path
		if !s.r.Parents {
			// A match that is a symlink is copied as what it leads to.
			if f, err = resolve(s.t, at); err != nil {
				return nil, &MissingError{at, err}
			}
		}
		found[i] = match{f, path.Base("/" + at), at, pivot}
	}
	return found, nil
}

func (s *selector) literal(clean string) (*File, error) {
	if s.r.Parents {
		return s.t.Lstat(clean)
	}
	return resolve(s.t, clean)
}

// escapes reports whether a path begins above the root.
func escapes(source string) bool {
	clean := path.Clean(strings.TrimLeft(source, "/"))
	return clean == ".." || strings.HasPrefix(clean, "../")
}

// add adds a match and all that is in it.
func (s *selector) add(m match) error {
	switch {
	case s.r.Parents:
		return s.addKept(m)
	case m.IsDir():
		return s.walk(m.File, m.File, s.r.Dest, true)
	case s.r.DestDir:
		return s.walk(m.File, m.File, path.Join(s.r.Dest, m.base), false)
	}
	return s.walk(m.File, m.File, s.r.Dest, false)
}

// addKept adds a match with the directories that it is in.
func (s *selector) addKept(m match) error {
	rel := strings.TrimPrefix(strings.TrimPrefix(m.kept, m.pivot), "/")
	for i := range rel {
		if rel[i] != '/' {
			continue
		}
		dir, err := s.t.Lstat(path.Join(m.pivot, rel[:i]))
		if err != nil {
			return err
		}
		s.put(Item{dir, path.Join(s.r.Dest, rel[:i]), false})
	}
	return s.walk(m.File, m.File, path.Join(s.r.Dest, rel), rel == "")
}

// walk adds a file, and what is in a directory. from is the source that it
// belongs to.
func (s *selector) walk(from, f *File, dest string, implied bool) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.excluded != nil && f.Entry.Path != "" {
		inSource := strings.Trim(strings.TrimPrefix(f.Entry.Path, from.Entry.Path), "/")
		if from == f && !f.IsDir() {
			inSource = path.Base(f.Entry.Path)
		}
		if hit, err := s.excluded(f.Entry.Path, inSource); hit || err != nil {
			return err
		}
	}
	if f.Entry.Type == Socket {
		return &SocketError{f.Entry.Path}
	}
	s.put(Item{f, dest, implied})
	if !f.IsDir() {
		return nil
	}
	children, err := s.t.ReadDir(f.Entry.Path)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := s.walk(from, c, path.Join(dest, path.Base(c.Entry.Path)), false); err != nil {
			return err
		}
	}
	return nil
}

func (s *selector) put(it Item) {
	if i, ok := s.at[it.Path]; ok {
		// Directories of two sources are one.
		if it.IsDir() && s.items[i].IsDir() && it.Implied {
			return
		}
		s.items[i] = it
		return
	}
	s.at[it.Path] = len(s.items)
	s.items = append(s.items, it)
}

// Size is how many bytes of contents items have.
func Size(items []Item) (n int64) {
	for _, it := range items {
		if it.Entry.Type == toc.Regular {
			n += it.Entry.Size
		}
	}
	return n
}

// Conflict checks that what is at one path does not stand in the way of what
// goes below it: a file where another source has a directory.
func Conflict(items []Item) error {
	kinds := make(map[string]bool, len(items)) // true is a directory
	for _, it := range items {
		kinds[it.Path] = it.IsDir()
	}
	for _, it := range items {
		for dir := parentOf(it.Path); dir != ""; dir = parentOf(dir) {
			if isDir, there := kinds[dir]; there && !isDir {
				return fmt.Errorf("%s: a file of one source, a directory of another", dir)
			}
		}
	}
	return nil
}
