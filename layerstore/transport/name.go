package transport

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/distribution/reference"
)

// parseName reads an image name by the rules of distribution/reference, with
// the tag latest where it has neither tag nor digest. An error is a
// *ReferenceError.
func parseName(s string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		e := &ReferenceError{Ref: s, Reason: nameFault(s, err)}
		if lower := lowerName(s); lower != s {
			if _, err := reference.ParseNormalizedNamed(lower); err == nil {
				e.Suggest = lower
			}
		}
		return nil, e
	}
	return reference.TagNameOnly(named), nil
}

var (
	wholeTag    = regexp.MustCompile("^" + reference.TagRegexp.String() + "$")
	wholeDigest = regexp.MustCompile("^" + reference.DigestRegexp.String() + "$")
	hexID       = regexp.MustCompile("^[0-9a-f]{64}$")
)

// nameFault says which rule a refused name breaks; the library says no more
// than "invalid reference format" of most.
func nameFault(s string, err error) string {
	name, dig, hasDigest := strings.Cut(s, "@")
	tagAt := strings.LastIndex(name, ":")
	if strings.Contains(name[tagAt+1:], "/") {
		tagAt = -1 // the colon of a port
	}
	switch {
	case s == "":
		return "it is empty"
	case hexID.MatchString(s):
		return "64 hexadecimal digits are an ID, not a name"
	case errors.Is(err, reference.ErrNameTooLong):
		return "the name is longer than 255 characters"
	case hasDigest && !wholeDigest.MatchString(dig):
		return fmt.Sprintf("%q is no digest", dig)
	case tagAt >= 0 && !wholeTag.MatchString(name[tagAt+1:]):
		return fmt.Sprintf("%q is no tag: at most 128 letters, digits, _ . -, the first neither . nor -", name[tagAt+1:])
	case strings.ToLower(name) != name && lowerName(s) != s:
		return "repository names are lower case"
	}
	return "a name is [HOST[:PORT]/]PATH[:TAG][@DIGEST] of lower-case letters, digits and . _ - between them"
}

// lowerName lowers the case of the repository, which is all but a tag or digest.
func lowerName(s string) string {
	name, dig, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		dig = "@" + dig
	}
	tagAt := strings.LastIndex(name, ":")
	if tagAt < 0 || strings.Contains(name[tagAt:], "/") {
		tagAt = len(name)
	}
	return strings.ToLower(name[:tagAt]) + name[tagAt:] + dig
}

// parseFull reads a name that an image was stored under, if it has more than a
// tag: "3.21" alone is a tag, though it could be a repository.
func parseFull(s string) (reference.Named, bool) {
	if !strings.ContainsAny(s, "/:") {
		return nil, false
	}
	named, err := parseName(s)
	return named, err == nil
}

// familiar gives a name as people write it, without docker.io/library.
func familiar(named reference.Named) string { return reference.FamiliarString(named) }

// noSuchName tells of a name that is no path: there is no store of names.
func noSuchName(s string) error {
	named, err := parseName(s)
	if err != nil {
		if hint := similarPaths(s); hint != "" {
			return &NotFoundError{Text: fmt.Sprintf("no image %q here", s), hint: hint}
		}
		return err
	}
	e := &NotFoundError{Text: fmt.Sprintf("no image %q here", s), hint: similarPaths(s)}
	if e.hint != "" {
		return e
	}
	if first, _, ok := strings.Cut(s, "/"); ok && reference.Domain(named) != first {
		e.Text += fmt.Sprintf(" and no registry %q", first)
		e.hint = "for a file or directory write ./" + s
		return e
	}
	e.hint = "fetch it: mica pull " + s
	return e
}

// similarPaths gives a hint with names beside a path that does not exist.
func similarPaths(name string) string {
	dir, base := filepath.Split(name)
	files, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return ""
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	near := similar(base, names)
	for i := range near {
		near[i] = dir + near[i]
	}
	if len(near) == 0 {
		return ""
	}
	return "similar: " + strings.Join(near, ", ")
}

// similar gives up to three of names that s may be a slip of, the nearest first.
func similar(s string, names []string) []string {
	type near struct {
		name string
		dist int
	}
	var found []near
	for _, name := range names {
		// One slip in three characters is as much as one can tell from another word.
		limit := max(len(s), len(name)) / 3
		if abs := len(s) - len(name); abs > limit || -abs > limit {
			continue
		}
		if d := levenshtein.Distance(s, name, nil); d <= limit {
			found = append(found, near{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.dist - b.dist })
	var out []string
	for _, n := range found[:min(3, len(found))] {
		if n.dist <= found[0].dist+1 {
			out = append(out, n.name)
		}
	}
	return out
}
