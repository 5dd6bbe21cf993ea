package toc

import (
	"bytes"
	"errors"
)

// Linux's limits: NAME_MAX, and PATH_MAX without the NUL.
const (
	maxName = 255
	maxPath = 4095
)

// errEscapes: the layer is hostile or damaged. docker refuses it as well;
// other tools put such an entry somewhere inside the root.
var errEscapes = errors.New("leads out of the root")

// cleanPath makes the name of an entry a clean path as [Entry] has it, in
// place. ".." is resolved by text: what it takes back may be a symlink, but
// has not been looked at (docker and umoci do the same).
func cleanPath(name []byte) ([]byte, error) {
	w := 0 // name[:w] is clean
	for r := 0; r < len(name); {
		n := bytes.IndexByte(name[r:], '/')
		if n < 0 {
			n = len(name) - r
		}
		elem := name[r : r+n]
		r += n + 1
		switch string(elem) {
		case "", ".":
		case "..":
			if w == 0 {
				return nil, errEscapes
			}
			w = max(bytes.LastIndexByte(name[:w], '/'), 0)
		default:
			if w > 0 {
				name[w] = '/'
				w++
			}
			w += copy(name[w:], elem)
		}
	}
	return name[:w], nil
}

// tooLong tells whether Linux can have no file of that path, clean or not.
func tooLong(path []byte) bool {
	if len(path) > maxPath {
		return true
	}
	for len(path) > maxName {
		i := bytes.LastIndexByte(path[:maxName+1], '/')
		if i < 0 {
			return true
		}
		path = path[i+1:]
	}
	return false
}
