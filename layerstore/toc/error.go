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

// A LimitError says that a layer or an image wants more of something than is
// served. The limits are far beyond what known images have, so that a hostile one
// costs no more than another.
type LimitError struct {
	Text string // what there is more of than how much
}

func (e *LimitError) Error() string { return e.Text }

// Code is the word by which programs know it.
func (e *LimitError) Code() string { return "limit" }

// Hint says what remains.
func (e *LimitError) Hint() string {
	return "no build is known to make such an image; if you trust it, unpack it: umoci unpack"
}

// OverLimit makes a LimitError.
func OverLimit(format string, args ...any) error {
	return &LimitError{fmt.Sprintf(format, args...)}
}
