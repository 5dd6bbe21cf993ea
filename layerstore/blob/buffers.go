package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// buffers are memory outside of the Go heap: those that are free. They are
// given back to the system when there is no use for them.
type buffers struct {
	free [][]byte // each with the capacity that was mapped
}

// bufferStep is what the length of a buffer is a multiple of, so that spans of
// about one length can use each other's.
const bufferStep = 256 << 10

// maxFree is how many buffers are kept for the next span.
const maxFree = 4

// get gives a buffer of n bytes; what is in it is of no meaning.
func (b *buffers) get(n int) ([]byte, error) {
	for i, buf := range b.free {
		if cap(buf) >= n && cap(buf) < 2*n+bufferStep {
			b.free[i] = b.free[len(b.free)-1]
			b.free = b.free[:len(b.free)-1]
			return buf[:n], nil
		}
	}
	size := (n + bufferStep - 1) / bufferStep * bufferStep
	buf, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return buf[:n], nil
}

// put takes a buffer back.
func (b *buffers) put(buf []byte) {
	b.free = append(b.free, buf)
	if len(b.free) > maxFree {
		b.unmap(b.free[0])
		b.free = append(b.free[:0], b.free[1:]...)
	}
}

// drop gives all back.
func (b *buffers) drop() {
	for _, buf := range b.free {
		b.unmap(buf)
	}
	b.free = nil
}

func (b *buffers) unmap(buf []byte) {
	// It can only fail for what is no mapping.
	_ = unix.Munmap(buf[:cap(buf)])
}
