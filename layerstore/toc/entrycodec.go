package toc

import (
	"encoding/binary"
	"errors"
	"io"
)

// An entry is kept as varints and strings, its path as what differs from the
// path of the entry before: directories come before their children in nearly
// every tar, so this takes off most of the path, and zstd most of the rest
// (21 bytes an entry on a Debian image, paths included).

const (
	maxCount = 1 << 20  // sparse extents or xattrs of one entry
	maxEntry = 64 << 20 // one encoded entry
)

// An entryEncoder turns entries into records: a uvarint with the length of
// the record, then the record.
type entryEncoder struct {
	prev string
	buf  []byte
	out  []byte
}

// encode gives the record of e; it is valid until the next call.
func (enc *entryEncoder) encode(e *Entry) []byte {
	b := enc.buf[:0]
	n := commonPrefix(enc.prev, e.Path)
	enc.prev = e.Path
	b = append(b, byte(e.Type))
	b = binary.AppendUvarint(b, uint64(n))
	b = putString(b, e.Path[n:])
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.UID))
	b = binary.AppendUvarint(b, uint64(e.GID))
	b = binary.AppendVarint(b, e.Mtime.Sec)
	b = binary.AppendUvarint(b, uint64(e.Mtime.Nsec))
	b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
	for _, x := range e.Xattrs {
		b = putString(b, x.Name)
		b = putString(b, string(x.Value))
	}
	switch e.Type {
	case Regular:
		b = binary.AppendUvarint(b, uint64(e.Size))
		b = binary.AppendUvarint(b, uint64(e.Off))
		// 0: no holes; else one more than the count of extents.
		if e.Sparse == nil {
			b = append(b, 0)
			break
		}
		b = binary.AppendUvarint(b, uint64(len(e.Sparse))+1)
		for _, x := range e.Sparse {
			b = binary.AppendUvarint(b, uint64(x.Off))
			b = binary.AppendUvarint(b, uint64(x.Len))
		}
	case Symlink, Hardlink:
		b = putString(b, e.Link)
	case Char, Block:
		b = binary.AppendUvarint(b, uint64(e.Major))
		b = binary.AppendUvarint(b, uint64(e.Minor))
	}
	enc.buf = b
	enc.out = binary.AppendUvarint(enc.out[:0], uint64(len(b)))
	enc.out = append(enc.out, b...)
	return enc.out
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

var errBadEntry = errors.New("malformed entry")

type byteReader interface {
	io.Reader
	io.ByteReader
}

// An entryDecoder is the other way of an entryEncoder.
type entryDecoder struct {
	r    byteReader
	prev string
	buf  []byte
}

// next gives the next entry, or io.EOF after the last. The entry is the
// caller's.
func (dec *entryDecoder) next() (*Entry, error) {
	n, err := binary.ReadUvarint(dec.r)
	if err != nil {
		return nil, err // io.EOF between records is the end
	}
	if n > maxEntry {
		return nil, errBadEntry
	}
	if uint64(cap(dec.buf)) < n {
		dec.buf = make([]byte, n+n/2)
	}
	b := dec.buf[:n]
	if _, err := io.ReadFull(dec.r, b); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	e, ok := dec.decode(b)
	if !ok {
		return nil, errBadEntry
	}
	return e, nil
}

func (dec *entryDecoder) decode(b []byte) (*Entry, bool) {
	c := cursor{b: b}
	e := new(Entry)
	if k := c.bytes(1); k != nil {
		e.Type = Type(k[0])
	}
	n := c.uvarint()
	if n > uint64(len(dec.prev)) {
		return nil, false
	}
	e.Path = dec.prev[:n] + c.string()
	dec.prev = e.Path
	e.Mode = uint16(c.uvarint())
	e.UID, e.GID = uint32(c.uvarint()), uint32(c.uvarint())
	e.Mtime = Time{Sec: c.varint(), Nsec: uint32(c.uvarint())}
	nx := c.uvarint()
	if nx > maxCount || nx > uint64(len(c.b)) {
		return nil, false
	}
	for range nx {
		e.Xattrs = append(e.Xattrs, Xattr{Name: c.string(), Value: append([]byte{}, c.bytes(c.uvarint())...)})
	}
	switch e.Type {
	case Regular:
		e.Size, e.Off = int64(c.uvarint()), int64(c.uvarint())
		if ns := c.uvarint(); ns > 0 {
			if ns-1 > uint64(len(c.b)) {
				return nil, false
			}
			e.Sparse = make([]Extent, ns-1)
			for i := range e.Sparse {
				e.Sparse[i] = Extent{Off: int64(c.uvarint()), Len: int64(c.uvarint())}
			}
		}
	case Symlink, Hardlink:
		e.Link = c.string()
	case Char, Block:
		e.Major, e.Minor = uint32(c.uvarint()), uint32(c.uvarint())
	case Dir, Fifo, Whiteout, Opaque:
	default:
		return nil, false
	}
	return e, !c.bad && len(c.b) == 0 && e.sound()
}

// sound says whether the numbers of an entry make sense by themselves.
func (e *Entry) sound() bool {
	if e.Mode > 0o7777 || e.Mtime.Nsec >= 1e9 || e.Size < 0 || e.Off < 0 || len(e.Path) > maxPath {
		return false
	}
	var end, data int64
	for _, x := range e.Sparse {
		if x.Off < end || x.Len < 0 || x.Len > e.Size-x.Off {
			return false
		}
		end = x.Off + x.Len
		data += x.Len
	}
	return true
}

// DataLen is how many bytes of the layer hold the file's data, from Off on.
func (e *Entry) DataLen() int64 {
	if e.Sparse == nil {
		return e.Size
	}
	var n int64
	for _, x := range e.Sparse {
		n += x.Len
	}
	return n
}
