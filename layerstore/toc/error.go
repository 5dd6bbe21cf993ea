package toc

import "fmt"

// A FormatError says that a tar stream is not what the format asks for, or
// that it asks for what no image needs: a path out of the root, an attribute
// beyond what the kernel can hold. Nothing of the layer may be served then.
//
// A stream that just ends too early wraps [io.ErrUnexpectedEOF].
type FormatError struct {
	Offset int64 // of the header or the bytes at fault, into the uncompressed layer
	Err    error // what is wrong, with the name of the entry where it is known
}

func (e *FormatError) Error() string { return fmt.Sprintf("tar: offset %d: %v", e.Offset, e.Err) }

func (e *FormatError) Unwrap() error { return e.Err }
