package source

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"strings"
)

// wild reports whether a pattern has wildcards (path.Match).
func wild(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// glob gives the files that a pattern means, in the order of their paths. "**"
// stands for any number of directories where deep is set, and else for "*".
func glob(t Tree, pattern string, deep bool) ([]*File, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%s: not right as a pattern", pattern)
	}
	// Symlinks are followed before the first wildcard only.
	literal, rest := "", pattern
	for rest != "" {
		first, after := cut(rest)
		if wild(first) {
			break
		}
		literal, rest = path.Join(literal, first), after
	}
	dir, err := resolve(t, literal)
	if errors.Is(err, iofs.ErrNotExist) && !errors.As(err, new(*OutsideError)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := globber{t: t, deep: deep, seen: map[string]bool{}}
	err = g.match(dir, strings.Split(rest, "/"))
	return g.found, err
}

type globber struct {
	t     Tree
	deep  bool
	seen  map[string]bool // "**" comes to some by several ways
	found []*File
}

// match finds what the elements of a pattern mean from a directory on.
func (g *globber) match(f *File, elements []string) error {
	if len(elements) == 0 {
		if !g.seen[f.Entry.Path] {
			g.seen[f.Entry.Path] = true
			g.found = append(g.found, f)
		}
		return nil
	}
	if !f.IsDir() {
		return nil
	}
	any := g.deep && elements[0] == "**"
	if any && len(elements) > 1 {
		if err := g.match(f, elements[1:]); err != nil {
			return err
		}
	}
	children, err := g.t.ReadDir(f.Entry.Path)
	if err != nil {
		return err
	}
	for _, c := range children {
		switch {
		case any && len(elements) == 1:
			err = g.match(c, nil)
		case any:
			err = g.match(c, elements)
		default:
			var hit bool
			if hit, err = path.Match(elements[0], path.Base(c.Entry.Path)); hit {
				err = g.match(c, elements[1:])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
