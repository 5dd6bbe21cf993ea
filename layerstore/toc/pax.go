package toc

import (
	"bytes"
	"errors"
	"fmt"
)

// A key is a PAX record that says something about a file and stands in place
// of a field of the header (pax(1), "Extended Header Keywords"; the sparse
// ones are GNU tar's).
type key uint8

const (
	keyPath key = iota
	keyLinkpath
	keySize
	keyUID
	keyGID
	keyMtime
	keySparseMajor
	keySparseMinor
	keySparseName
	keySparseRealSize
	keySparseSize
	keySparseNumBlocks
	keySparseMap
	numKeys
	noKey = numKeys
)

func keyOf(name []byte) key {
	switch string(name) {
	case "path":
		return keyPath
	case "linkpath":
		return keyLinkpath
	case "size":
		return keySize
	case "uid":
		return keyUID
	case "gid":
		return keyGID
	case "mtime":
		return keyMtime
	case "GNU.sparse.major":
		return keySparseMajor
	case "GNU.sparse.minor":
		return keySparseMinor
	case "GNU.sparse.name":
		return keySparseName
	case "GNU.sparse.realsize":
		return keySparseRealSize
	case "GNU.sparse.size":
		return keySparseSize
	case "GNU.sparse.numblocks":
		return keySparseNumBlocks
	case "GNU.sparse.map":
		return keySparseMap
	}
	return noKey
}

// Records are what one PAX header, or all global ones, say.
type records struct {
	// Values, nil for a key that was not there. An empty value takes back
	// what a global header said.
	vals   [numKeys][]byte
	xattrs []xattrRecord
	// The map of sparse format 0.0, which has a pair of records for each extent.
	extents []Extent
	offset  []byte // GNU.sparse.offset whose numbytes is to come
}

func (r *records) reset() {
	r.vals = [numKeys][]byte{}
	r.xattrs = r.xattrs[:0]
	r.extents = r.extents[:0]
	r.offset = nil
}

var errRecord = errors.New("PAX header: broken record")

// nextRecord cuts the first record off b: "LEN KEY=VALUE\n" where LEN is the
// length of all of it in decimal. The value may hold any byte, the key no
// NUL. Empty values are common in the wild.
func nextRecord(b []byte) (name, value, rest []byte, err error) {
	sp := bytes.IndexByte(b[:min(len(b), 20)], ' ')
	if sp < 0 {
		return nil, nil, nil, errRecord
	}
	n, ok := parseDecimal(b[:sp])
	if !ok || n <= int64(sp)+1 || n > int64(len(b)) || b[n-1] != '\n' {
		return nil, nil, nil, errRecord
	}
	name, value, ok = bytes.Cut(b[sp+1:n-1], []byte{'='})
	if !ok || len(name) == 0 || bytes.IndexByte(name, 0) >= 0 {
		return nil, nil, nil, errRecord
	}
	return name, value, b[n:], nil
}

// readPAX reads the PAX header whose first block is in blk.
func (s *scanner) readPAX(take func([]byte) error) error {
	if err := s.readMeta(&s.paxBuf, maxPAX); err != nil {
		return err
	}
	if err := take(s.paxBuf); err != nil {
		return s.fail(err)
	}
	return nil
}

// takeLocal takes in the header of one entry: b, which must stay as it is
// until the entry is done. It replaces what an earlier such header said.
func (s *scanner) takeLocal(b []byte) error {
	s.local.reset()
	for len(b) > 0 {
		name, value, rest, err := nextRecord(b)
		if err != nil {
			return err
		}
		b = rest
		if k := keyOf(name); k != noKey {
			if (k == keyPath || k == keyLinkpath || k == keySparseName) && bytes.IndexByte(value, 0) >= 0 {
				return errors.New("PAX header: NUL in a path")
			}
			s.local.vals[k] = value
			continue
		}
		if bytes.HasPrefix(name, []byte("MSWINDOWS.")) {
			return fmt.Errorf("a layer of Windows (PAX record %.40q), where one of Linux belongs", name)
		}
		if err := s.local.addExtent(name, value); err != nil {
			return err
		}
		if err := s.addXattr(&s.local, name, value); err != nil {
			return err
		}
	}
	return nil
}

// takeGlobal takes in a header that holds for all entries to come, as far
// as they do not say otherwise.
func (s *scanner) takeGlobal(b []byte) error {
	for len(b) > 0 {
		name, value, rest, err := nextRecord(b)
		if err != nil {
			return err
		}
		b = rest
		switch k := keyOf(name); k {
		case keyUID, keyGID, keyMtime:
			s.global.vals[k] = nil
			if len(value) > 0 {
				s.global.vals[k] = bytes.Clone(value)
			}
		case noKey:
			if err := s.addXattr(&s.global, name, value); err != nil {
				return err
			}
		default:
			// One name or size for many files: readers disagree, and the
			// container engines pass over all global headers.
			s.note(nil, "global PAX header sets "+string(name)+": passed over")
		}
	}
	return nil
}

// record is what PAX headers say of the entry at hand; nothing is nil or empty.
func (s *scanner) record(k key) []byte {
	if v := s.local.vals[k]; v != nil {
		return v
	}
	return s.global.vals[k]
}
