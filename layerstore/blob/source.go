package blob

import "io"

// A Source is a blob as stored: compressed or not, in a file of its own or in
// the middle of an archive. ReadAt may be called concurrently.
type Source interface {
	io.ReaderAt
	// Size is the length in bytes.
	Size() int64
	// ID names these very bytes: the digest ("sha256:…") where the format
	// tells it, else where they lie (path, inode, size, mtime, offset), so
	// that other bytes have another ID.
	ID() string
}
