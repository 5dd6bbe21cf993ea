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
	b := t.sections[secXattrs]
	at := uint64(m.xattrs) - 1
	if at+4 > uint64(len(b)) {
		return nil, t.bad("attributes out of range")
	}
	le := binary.LittleEndian
	n := le.Uint32(b[at:])
	b = b[at+4:]
	if uint64(n)*5 > uint64(len(b)) {
		return nil, t.bad("attributes out of range")
	}
	xs := make([]toc.Xattr, n)
	for i := range xs {
		if len(b) < 1 || len(b) < 1+int(b[0])+4 {
			return nil, t.bad("attributes out of range")
		}
		nameEnd := 1 + int(b[0])
		size := le.Uint32(b[nameEnd:])
		value := b[nameEnd+4:]
		if uint64(size) > uint64(len(value)) {
			return nil, t.bad("attributes out of range")
		}
		xs[i] = toc.Xattr{Name: string(b[1:nameEnd]), Value: value[:size:size]}
		b = value[size:]
	}
	return xs, nil
}

// MayHaveXattr is false only if no node has an attribute of that name: most
// images have none at all, and need not be asked for each file.
func (t *Tree) MayHaveXattr(_ NodeID, name string) bool {
	return strings.HasPrefix(name, originPrefix) || bytes.Contains(t.sections[secXattrs], []byte(name))
}
