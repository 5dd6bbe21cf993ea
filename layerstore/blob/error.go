package blob

import "fmt"

// A DataError says that bytes of a blob could not be had, or are not those
// that its digest promises. The file exists; reading it failed.
type DataError struct {
	Blob   string // the ID of the Source
	Offset int64  // in bytes, into the uncompressed layer, or into the contents of its chunks
	Err    error  // what the source, the decoder or the checksum said
}

func (e *DataError) Error() string {
	return fmt.Sprintf("blob %s: offset %d: %v", e.Blob, e.Offset, e.Err)
}

func (e *DataError) Unwrap() error { return e.Err }
