package blob

import (
	"bytes"
	"encoding/binary"
)

// A Compression is how the bytes of a blob are packed, told by their first
// bytes: media types are often wrong.
type Compression uint8

const (
	None Compression = iota
	Gzip
	Zstd
	Bzip2
	XZ
	LZ4
)

func (c Compression) String() string {
	return [...]string{"tar", "gzip", "zstd", "bzip2", "xz", "lz4"}[c]
}

// SniffLen is how many bytes Sniff wants to see; fewer are a shorter blob.
const SniffLen = 8

// Sniff tells the compression of a blob by its first bytes.
func Sniff(head []byte) Compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case len(head) >= 4 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50:
		return Zstd // a skippable frame first (RFC 8878 §3.1.2)
	case bytes.HasPrefix(head, []byte("BZh")):
		return Bzip2
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return XZ
	case bytes.HasPrefix(head, []byte{0x04, 0x22, 0x4d, 0x18}):
		return LZ4
	}
	return None
}
