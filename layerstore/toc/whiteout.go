package toc

import "strings"

// A marker is what a name that begins with ".wh." says (image-spec layer.md,
// "Whiteouts"; aufs, where it comes from; SEMANTICS.md 2.2 to 2.5).
type marker uint8

const (
	none     marker = iota
	whiteout        // hides one name
	opaque          // hides all that lower layers have in the directory
	ignored         // aufs's own bookkeeping
	invalid         // would hide the directory that it lies in, or its parent
)

const whiteoutPrefix = ".wh."

// parseMarker reads one element of a path; hidden is the name that a
// whiteout hides.
func parseMarker(elem string) (m marker, hidden string) {
	hidden, ok := strings.CutPrefix(elem, whiteoutPrefix)
	switch {
	case !ok:
		return none, ""
	case hidden == ".wh..opq":
		return opaque, ""
	case strings.HasPrefix(hidden, whiteoutPrefix):
		return ignored, ""
	case hidden == "" || hidden == "." || hidden == "..":
		return invalid, ""
	}
	return whiteout, hidden
}

// splitMarker finds the first marker in a clean path. at is the path that the
// marker is about: the hidden file or the opaque directory. What comes below
// a marker says nothing more: a directory ".wh.x" is a whiteout of x, and its
// children are no files.
func splitMarker(path string) (m marker, at string) {
	start := strings.Index(path, whiteoutPrefix)
	for start > 0 && path[start-1] != '/' {
		i := strings.Index(path[start+1:], whiteoutPrefix)
		if i < 0 {
			return none, ""
		}
		start += 1 + i
	}
	if start < 0 {
		return none, ""
	}
	elem, _, _ := strings.Cut(path[start:], "/")
	m, hidden := parseMarker(elem)
	switch m {
	case whiteout:
		return m, path[:start] + hidden
	case opaque:
		return m, path[:max(start-1, 0)]
	}
	return m, ""
}

// MarkerPath gives the path of a mark as a tar has it.
func MarkerPath(e *Entry) string {
	if e.Type == Opaque {
		return strings.TrimPrefix(e.Path+"/"+whiteoutPrefix+".wh..opq", "/")
	}
	dir := strings.LastIndexByte(e.Path, '/') + 1
	return e.Path[:dir] + whiteoutPrefix + e.Path[dir:]
}
