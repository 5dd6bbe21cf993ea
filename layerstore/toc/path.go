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

// cleanPath makes the name of an entry a clean path as [Entry] has it; it may
// be a part of name. ".." is resolved by text: what it takes back may be a
// symlink, but has not been looked at (docker and umoci do the same).
func cleanPath(name []byte) ([]byte, error) {
	// These are common: "./usr/", "/usr".
	path := bytes.TrimRight(name, "/")
	for {
		if rest, ok := bytes.CutPrefix(path, []byte("./")); ok {
			path = rest
		} else if rest, ok := bytes.CutPrefix(path, []byte("/")); ok {
			path = rest
		} else {
			break
		}
	}
	for rest := path; len(rest) > 0; {
		elem := rest
		if i := bytes.IndexByte(rest, '/'); i >= 0 {
			elem, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		switch string(elem) {
		case "", ".", "..":
			return resolve(path)
		}
	}
	return path, nil
}

// resolve is cleanPath for any path, at the cost of a copy.
func resolve(path []byte) ([]byte, error) {
	clean := make([]byte, 0, len(path))
	for elem := range bytes.SplitSeq(path, []byte{'/'}) {
		switch string(elem) {
		case "", ".":
		case "..":
			if len(clean) == 0 {
				return nil, errEscapes
			}
			clean = clean[:max(bytes.LastIndexByte(clean, '/'), 0)]
		default:
			if len(clean) > 0 {
				clean = append(clean, '/')
			}
			clean = append(clean, elem...)
		}
	}
	return clean, nil
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
