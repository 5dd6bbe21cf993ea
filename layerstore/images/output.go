package images

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An output is the file that a blob is written to, front to back. Long ones that
// are not compressed are written past the page cache where the file system can
// do that: to copy them there takes half of the processor time of a load, and
// what is dirty has to be waited for at the end anyway (docs/ARCHITECTURE.md).
// Of those that are compressed the decoder has the processors, and the page
// cache evens out how fast the disk is.
type output struct {
	file   *os.File
	direct *os.File // the same file; nil is written as any other
}

const (
	// directFrom is how long a blob is, in bytes, for that to be worth it. What
	// is shorter is likely to be read soon.
	directFrom = 16 << 20
	// directAlign is what offsets, lengths and memory have to be multiples of,
	// more than any disk asks for.
	directAlign = 4096
)

// newOutput gives the output to a file that is to grow by so many bytes.
func newOutput(f *os.File, grows int64, compressed bool) *output {
	o := &output{file: f}
	if grows < directFrom || compressed {
		return o
	}
	// Where it cannot be had it is done without.
	o.direct, _ = os.OpenFile(f.Name(), os.O_WRONLY|unix.O_DIRECT, 0)
	return o
}

// write writes at an offset that is aligned as long as nothing else has been
// written; b begins where memory is aligned.
func (o *output) write(b []byte, off int64) error {
	whole := len(b) &^ (directAlign - 1)
	if o.direct == nil || off%directAlign != 0 {
		whole = 0
	}
	if whole > 0 {
		_, err := o.direct.WriteAt(b[:whole], off)
		if errors.Is(err, unix.EINVAL) { // coarser than we know of
			whole, err = 0, o.close()
		}
		if err != nil {
			return err
		}
	}
	if whole == len(b) {
		return nil
	}
	_, err := o.file.WriteAt(b[whole:], off+int64(whole))
	return err
}

// close ends writing past the page cache. The file stays open.
func (o *output) close() error {
	if o.direct == nil {
		return nil
	}
	err := o.direct.Close()
	o.direct = nil
	return err
}

// aligned gives memory that begins as directAlign asks for.
func aligned(n int) []byte {
	b := make([]byte, n+directAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (directAlign - 1)
	return b[skip : skip+n : skip+n]
}
