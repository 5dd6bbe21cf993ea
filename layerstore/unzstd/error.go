package unzstd

import "fmt"

// A FormatError says that the input is no zstd stream, or one that is not
// supported. Input that merely ends too early is io.ErrUnexpectedEOF instead.
type FormatError struct {
	Offset int64 // in bytes, into the compressed stream: the piece where it was noticed
	Msg    string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("zstd: offset %d: %s", e.Offset, e.Msg)
}

// A WindowError says that a frame wants more memory than Options.MaxWindow grants.
// No output of that frame has been given.
type WindowError struct {
	Offset int64 // in bytes, into the compressed stream, of the frame
	Window int64 // in bytes
	Max    int64
}

func (e *WindowError) Error() string {
	return fmt.Sprintf("zstd: offset %d: frame needs a window of %d bytes, the limit is %d", e.Offset, e.Window, e.Max)
}

// fault is a reason to refuse a block. Only who knows the offset makes it a
// FormatError.
type fault string

func (f fault) Error() string { return string(f) }
