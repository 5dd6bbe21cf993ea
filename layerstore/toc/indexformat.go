package toc

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The layout of an index file, docs/FORMATS.md section 1. All numbers are
// little-endian.
const (
	indexMagic   = "MICAIDX1"
	indexVersion = 2
	// headerLen is magic, version, section count, and the section table,
	// closed by a CRC-32C of all before it.
	headerLen  = 8 + 4 + 4 + numSections*sectionLen + 4
	sectionLen = 8 + 8 + 4 // offset, length, CRC-32C
	pointLen   = 8 + 8 + 8 + 8 + 4 + 4 + 4
)

// The sections of an index file, in the order of the table.
const (
	secInfo    = iota // the Info, in the form of putInfo
	secMarkers        // zstd: whiteouts and opaque marks
	secEntries        // zstd: all other entries, in tar order
	secPoints         // fixed-size records, one a span
	secWindows        // the windows of the points, each zstd
	secSums           // CRC-32C of each block of each span, uint32
	numSections
)

// BlockLen is the length in bytes of the unit of verification: each span is
// cut into blocks of this size, its last one shorter, and each has a checksum
// in the index.
const BlockLen = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C that the index keeps of a block.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// UpdateChecksum is Checksum of some bytes and those that follow them.
func UpdateChecksum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// An IndexError says that an index file is damaged or of another version. It
// is never fatal: the file is made again from the blob.
type IndexError struct {
	Path string
	Msg  string
}

func (e *IndexError) Error() string { return fmt.Sprintf("index %s: %s", e.Path, e.Msg) }

// A cursor reads varints and strings out of bytes that may be forged. After
// the first thing that does not fit it is bad and gives zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// bytes gives the next n bytes; they are part of the cursor's own.
func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) string() string { return string(c.bytes(c.uvarint())) }

func putString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
