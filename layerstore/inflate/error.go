package inflate

import "fmt"

// A FormatError says that the input is no gzip stream. Input that merely ends
// too early is io.ErrUnexpectedEOF instead.
type FormatError struct {
	Offset int64 // in bytes, into the compressed stream: where it was noticed
	Msg    string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("gzip: offset %d: %s", e.Offset, e.Msg)
}
