package overlay

import (
	"bytes"
	"encoding/binary"
	"strings"

	"mica/layerstore/toc"
)

// Xattrs gives the extended attributes of a node, sorted by name. The values
// are part of the mapping and not to be changed.
func (t *Tree) Xattrs(id NodeID) ([]toc.Xattr, error) {
	_, m, err := t.inode(id)
	if err != nil || m.xattrs == 0 {
		return nil, err
	}
	le := binary.LittleEndian
	at := uint64(m.xattrs) - 1
	b, err := t.take(secXattrs, at, 4, "attributes")
	if err != nil {
		return nil, err
	}
	n := le.Uint32(b)
	if at += 4; uint64(n)*5 > t.sections[secXattrs].len() {
		return nil, t.bad("attributes out of range")
	}
	// next gives what comes after a length of so many bytes.
	next := func(bytes int) ([]byte, error) {
		l, err := t.take(secXattrs, at, uint64(bytes), "attributes")
		if err != nil {
			return nil, err
		}
		size := uint64(l[0])
		if bytes == 4 {
			size = uint64(le.Uint32(l))
		}
		b, err := t.take(secXattrs, at+uint64(bytes), size, "attributes")
		at += uint64(bytes) + size
		return b, err
	}
	xs := make([]toc.Xattr, n)
	for i := range xs {
		name, err := next(1)
		if err != nil {
			return nil, err
		}
		value, err := next(4)
		if err != nil {
			return nil, err
		}
		xs[i] = toc.Xattr{Name: string(name), Value: value}
	}
	return xs, nil
}

// MayHaveXattr is false only if no node has an attribute of that name: most
// images have none at all, and need not be asked for each file.
func (t *Tree) MayHaveXattr(_ NodeID, name string) bool {
	all, wrong := t.sections[secXattrs].read(0, t.sections[secXattrs].len())
	return strings.HasPrefix(name, originPrefix) || wrong != "" || bytes.Contains(all, []byte(name))
}
