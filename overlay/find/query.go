package find

import (
	"errors"
	iofs "io/fs"
	"strings"
	"time"

	"mica/overlay"
)

// An Action is something to be done with a file that passed.
type Action int

const (
	Print  Action = iota // its path and a newline
	Print0               // its path and a NUL
	List                 // as ls -dils does
)

// Env is what an expression refers to besides the files it tests.
type Env struct {
	Tree *overlay.Tree
	Now  time.Time // what ages are measured from
	// User and Group give the number of a name; nil knows no names.
	User, Group func(name string) (uint32, bool)
}

// A Query is what is to be found: the part of find(1)'s command line that
// comes after its options.
type Query struct {
	Paths []string // where to start; at least one

	env                Env
	minDepth, maxDepth int
	expr               test
}

// A test looks at a file, acts or not, and says whether it passed.
type test func(f *file) bool

// A file is what tests look at.
type file struct {
	*overlay.Visit
	act   func(Action, *overlay.Visit) error
	prune bool
	err   error // of an action or of the tree; ends the run
}

func (f *file) fail(err error) bool {
	f.err = err
	return false
}

// Run walks a path of the query and calls act for each action on each file
// that gets to it. Errors are those of act and of the tree; a path that leads
// nowhere is one of [overlay.Tree.Lstat]'s.
func (q *Query) Run(path string, act func(Action, *overlay.Visit) error) error {
	start, err := q.env.Tree.Lstat(path)
	if err != nil {
		return err
	}
	err = q.env.Tree.Walk(path, start.ID, func(v *overlay.Visit) error {
		if v.Depth == 0 {
			v.Name = base(path)
		}
		f := file{Visit: v, act: act}
		if v.Depth >= q.minDepth {
			q.expr(&f)
		}
		if f.err == nil && (f.prune || v.Depth >= q.maxDepth) {
			return iofs.SkipDir
		}
		return f.err
	})
	if errors.Is(err, iofs.SkipDir) {
		return nil
	}
	return err
}

// base gives the last element of a path as basename(1) does.
func base(path string) string {
	trimmed := strings.TrimRight(path, "/")
	if trimmed == "" {
		return path[:min(1, len(path))]
	}
	return trimmed[strings.LastIndexByte(trimmed, '/')+1:]
}
