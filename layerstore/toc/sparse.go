package toc

import (
	"bytes"
	"errors"
	"fmt"
)

// maxExtents bounds the map of a sparse file. archive/tar stops at maps of
// 1 MiB of text, which are fewer.
const maxExtents = 1 << 18

var (
	errSparseMap  = errors.New("sparse file: the map is not a list of numbers")
	errSparseLong = fmt.Errorf("sparse file: more than %d extents", maxExtents)
	errSparseGNU  = errors.New("sparse file of a tar other than GNU")
)

// A sparseMap is what a sparse file has in place of plain data, as GNU tar
// writes it in one of four forms ("Storing Sparse Files" in its manual).
type sparseMap struct {
	extents []Extent // as found, then as Entry.Sparse has them
	size    int64    // with the holes
	name    []byte   // of the file, as PAX headers have it; may be empty
	inData  int64    // bytes of the map that the header counts as data
}

// sparse reads the map of the regular file at hand, up to where the data
// begins. It returns nil if the file is not sparse. size is what the header
// says, for maps that do not tell the file's.
func (s *scanner) sparse(size int64) (*sparseMap, error) {
	var m *sparseMap
	var err error
	major, minor := string(s.local.vals[keySparseMajor]), string(s.local.vals[keySparseMinor])
	switch version := major + "." + minor; {
	case s.blk.flag() == flagGNUSparse:
		m, err = s.sparseGNU()
	case version == "1.0":
		m, err = s.sparse10()
	case version == "0.0", version == "0.1", version == "." && s.hasSparseMap():
		m, err = s.sparse01()
	case version == ".":
		return nil, nil
	default:
		return nil, fmt.Errorf("sparse file: unknown format %.20q", version)
	}
	if err != nil {
		return nil, err
	}
	if s.blk.flag() != flagGNUSparse {
		m.size, m.name = size, s.local.vals[keySparseName]
		for _, k := range []key{keySparseRealSize, keySparseSize} {
			if v := s.local.vals[k]; len(v) > 0 {
				n, ok := parseDecimal(v)
				if !ok {
					return nil, fmt.Errorf("sparse file: size %.20q is no number", v)
				}
				m.size = n
			}
		}
	}
	return m, m.tidy()
}

// tidy checks that the extents rise and lie in the file, joins neighbours and
// leaves out empty ones (GNU tar ends each map with one).
func (m *sparseMap) tidy() error {
	if m.size < 0 {
		return fmt.Errorf("sparse file of %d bytes", m.size)
	}
	out := m.extents[:0]
	end := int64(0)
	for i, x := range m.extents {
		if x.Off < end || x.Len < 0 || x.Len > m.size || x.Off > m.size-x.Len {
			return fmt.Errorf("sparse file: extent %d [%d, +%d) is out of order or beyond the %d bytes of the file", i, x.Off, x.Len, m.size)
		}
		switch joins := len(out) > 0 && x.Off == end; {
		case x.Len == 0:
		case joins:
			out[len(out)-1].Len += x.Len
		default:
			out = append(out, x)
		}
		end = x.Off + x.Len
	}
	m.extents = out
	return nil
}

// holes is the map as Entry.Sparse has it: nil if there are no holes.
func (m *sparseMap) holes() []Extent {
	switch {
	case m.size == 0 || len(m.extents) == 1 && m.extents[0].Len == m.size:
		return nil
	case len(m.extents) == 0:
		return []Extent{}
	}
	return m.extents
}

// stored is how many bytes of data the file has in the layer.
func (m *sparseMap) stored() int64 {
	n := int64(0)
	for _, x := range m.extents {
		n += x.Len
	}
	return n
}

func (m *sparseMap) add(x Extent) error {
	if len(m.extents) == maxExtents {
		return errSparseLong
	}
	m.extents = append(m.extents, x)
	return nil
}

// sparseGNU reads the map of the old GNU format: four extents in the header,
// each two fields of 12 bytes, then 21 in each of the blocks that follow it;
// a flag behind them says whether one more follows.
func (s *scanner) sparseGNU() (*sparseMap, error) {
	if s.blk.format() != formatGNU {
		return nil, errSparseGNU // star has the same flag for another layout
	}
	size, ok := parseNumber(s.blk[483:495])
	if !ok {
		return nil, errSparseMap
	}
	m := &sparseMap{size: size}
	for fields, more := s.blk[386:482], s.blk[482] != 0; ; fields, more = s.ext[:504], s.ext[504] != 0 {
		// An empty field ends the list, but blocks may follow.
		for ; len(fields) > 0 && fields[0] != 0; fields = fields[24:] {
			off, ok := parseNumber(fields[:12])
			n, ok2 := parseNumber(fields[12:24])
			if !ok || !ok2 {
				return nil, errSparseMap
			}
			if err := m.add(Extent{Off: off, Len: n}); err != nil {
				return nil, err
			}
		}
		if !more {
			return m, nil
		}
		if err := s.readInner(&s.ext); err != nil {
			return nil, err
		}
	}
}

// hasSparseMap tells whether the records hold a map though they name no version.
func (s *scanner) hasSparseMap() bool {
	return len(s.local.vals[keySparseMap]) > 0 || len(s.local.extents) > 0
}

// sparse01 takes the map out of the PAX header: one record for all numbers
// (format 0.1), or two for each extent (0.0).
func (s *scanner) sparse01() (*sparseMap, error) {
	if s.local.offset != nil {
		return nil, errSparseMap
	}
	m := &sparseMap{extents: s.local.extents}
	s.local.extents = nil // they are the entry's from here on
	if len(m.extents) == 0 {
		if err := m.addList(s.local.vals[keySparseMap]); err != nil {
			return nil, err
		}
	}
	if v := s.local.vals[keySparseNumBlocks]; len(v) > 0 {
		if n, ok := parseDecimal(v); !ok || n != int64(len(m.extents)) {
			return nil, fmt.Errorf("sparse file: %.20q extents announced, %d found", v, len(m.extents))
		}
	}
	return m, nil
}

// addList takes in "offset,length,offset,length…".
func (m *sparseMap) addList(list []byte) error {
	for len(list) > 0 {
		var off, n []byte
		off, list, _ = bytes.Cut(list, []byte{','})
		n, list, _ = bytes.Cut(list, []byte{','})
		if err := m.addText(off, n); err != nil {
			return err
		}
	}
	return nil
}

func (m *sparseMap) addText(off, n []byte) error {
	o, ok := parseDecimal(off)
	l, ok2 := parseDecimal(n)
	if !ok || !ok2 {
		return errSparseMap
	}
	return m.add(Extent{Off: o, Len: l})
}

// addExtent takes in a record of format 0.0, if it is one. Those of one
// extent come in pairs, the offset first.
func (r *records) addExtent(name, value []byte) error {
	switch string(name) {
	case "GNU.sparse.offset":
		if r.offset != nil {
			return errSparseMap
		}
		r.offset = value
	case "GNU.sparse.numbytes":
		m := sparseMap{extents: r.extents}
		err := m.addText(r.offset, value)
		r.extents, r.offset = m.extents, nil
		return err
	}
	return nil
}

// sparse10 reads the map from where the data begins (format 1.0): decimal
// numbers, each with a newline, the count of extents first; then zeros up to
// the next block.
func (s *scanner) sparse10() (*sparseMap, error) {
	m := &sparseMap{}
	var left []byte // of the block in s.ext
	number := func() (int64, error) {
		var digits [20]byte
		for n := 0; ; n++ {
			if len(left) == 0 {
				if err := s.readInner(&s.ext); err != nil {
					return 0, err
				}
				left = s.ext[:]
				m.inData += blockSize
			}
			c := left[0]
			left = left[1:]
			if c == '\n' {
				v, ok := parseDecimal(digits[:n])
				if !ok {
					return 0, errSparseMap
				}
				return v, nil
			}
			if n == len(digits) {
				return 0, errSparseMap
			}
			digits[n] = c
		}
	}
	count, err := number()
	if err == nil && count < 0 {
		err = errSparseMap
	}
	for i := int64(0); i < count && err == nil; i++ {
		var x Extent
		if x.Off, err = number(); err != nil {
			break
		}
		if x.Len, err = number(); err != nil {
			break
		}
		err = m.add(x)
	}
	return m, err
}
