package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"mica/layerstore/toc"
)

// An IgnoredError says that a path is there and left out by .dockerignore.
type IgnoredError struct{ Path string }

func (e *IgnoredError) Error() string { return e.Path + ": left out by .dockerignore" }
func (e *IgnoredError) Unwrap() error { return iofs.ErrNotExist }

// ReadIgnore reads the patterns of a .dockerignore.
func ReadIgnore(r io.Reader) ([]string, error) { return ignorefile.ReadAll(r) }

// Ignoring is a tree without what patterns of a .dockerignore leave out. A
// directory that is left out stays where a pattern with "!" lets some of it in.
func Ignoring(t Tree, patterns []string) (Tree, error) {
	if len(patterns) == 0 {
		return t, nil
	}
	m, err := newMatcher(patterns)
	if err != nil {
		return nil, fmt.Errorf(".dockerignore: %w", err)
	}
	return &ignoring{Tree: t, m: m}, nil
}

type ignoring struct {
	Tree
	m *matcher
}

func (t *ignoring) Lstat(path string) (*File, error) {
	f, err := t.Tree.Lstat(path)
	if err != nil || path == "" {
		return f, err
	}
	keep, err := t.keeps(f)
	if err == nil && !keep {
		err = &IgnoredError{path}
	}
	return f, err
}

func (t *ignoring) ReadDir(path string) ([]*File, error) {
	files, err := t.Tree.ReadDir(path)
	if err != nil {
		return nil, err
	}
	kept := files[:0]
	for _, f := range files {
		keep, err := t.keeps(f)
		if err != nil {
			return nil, err
		}
		if keep {
			kept = append(kept, f)
		}
	}
	return kept, nil
}

func (t *ignoring) keeps(f *File) (bool, error) {
	hit, err := t.m.matches(f.Entry.Path)
	if err != nil || !hit {
		return !hit, err
	}
	if !f.IsDir() || !t.m.Exclusions() {
		return false, nil
	}
	below, err := t.ReadDir(f.Entry.Path)
	if errors.Is(err, iofs.ErrPermission) {
		return false, nil // so nothing of it is let in
	}
	return len(below) > 0, err
}

func (t *ignoring) Open(ctx context.Context, f *File) (Contents, error) { return t.Tree.Open(ctx, f) }
func (t *ignoring) Xattrs(f *File) ([]toc.Xattr, error)                 { return t.Tree.Xattrs(f) }

// A matcher matches paths, and remembers what it has said of directories: the
// verdict on a path depends on those above it.
type matcher struct {
	*patternmatcher.PatternMatcher
	mu   sync.Mutex
	dirs map[string]verdict
}

type verdict struct {
	hit  bool
	info patternmatcher.MatchInfo
}

func newMatcher(patterns []string) (*matcher, error) {
	p, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	return &matcher{PatternMatcher: p, dirs: map[string]verdict{"": {}}}, nil
}

// maxVerdicts is how many directories are remembered.
const maxVerdicts = 100_000

func (m *matcher) matches(path string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.verdictLocked(path)
	return v.hit, err
}

func (m *matcher) verdictLocked(path string) (verdict, error) {
	if v, ok := m.dirs[path]; ok {
		return v, nil
	}
	parent, err := m.verdictLocked(parentOf(path))
	if err != nil {
		return verdict{}, err
	}
	var v verdict
	v.hit, v.info, err = m.MatchesUsingParentResults(path, parent.info)
	if dir := parentOf(path); dir != "" && len(m.dirs) < maxVerdicts {
		m.dirs[dir] = parent
	}
	return v, err
}

// excluder gives what --exclude leaves out, of paths both from the root of the
// tree and from the source that they belong to; nil leaves nothing out.
func excluder(patterns []string) (func(fromRoot, fromSource string) (bool, error), error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	for i, p := range patterns {
		patterns[i] = strings.TrimPrefix(p, "/")
	}
	m, err := newMatcher(patterns)
	if err != nil {
		return nil, fmt.Errorf("--exclude: %w", err)
	}
	return func(fromRoot, fromSource string) (bool, error) {
		hit, err := m.matches(fromRoot)
		if err == nil && !hit && fromSource != "" {
			hit, err = m.matches(fromSource)
		}
		return hit, err
	}, nil
}
