package unzstd

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"mica/layerstore/scratch"
)

// largeRing is how long a ring is, in bytes, before it lies in a file: what
// zstd makes unless it is told to have a long window is below.
const largeRing = 32 << 20

// A ringMap is a ring in memory mapped for it: of a file without a name, so that
// windows of 128 MiB take no more memory than there is for them, or of none.
type ringMap struct {
	data    []byte
	cleanup runtime.Cleanup
}

// newRing gives n bytes, on the heap if mapped is nil. They can be used as long as
// mapped is referred to, and until it is closed.
func newRing(n int, offHeap bool) (ring []byte, mapped *ringMap) {
	var data []byte
	if n >= largeRing {
		data = mapScratch(n)
	}
	if data == nil && offHeap {
		data, _ = unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // else the heap
	}
	if data == nil {
		return make([]byte, n), nil
	}
	m := &ringMap{data: data}
	m.cleanup = runtime.AddCleanup(m, unmapRing, data)
	return data, m
}

func (m *ringMap) close() {
	m.cleanup.Stop()
	unmapRing(m.data)
}

// unmapRing fails for nothing but what is no mapping.
func unmapRing(data []byte) { _ = unix.Munmap(data) }

// mapScratch gives n bytes of a new file, or nil where there is no place for it.
func mapScratch(n int) (data []byte) {
	f, err := scratch.Somewhere("", func(f *os.File) (err error) {
		data, err = mapFile(int(f.Fd()), n)
		return err
	})
	if err == nil {
		_ = f.Close() // nothing was written through it
	}
	return data
}

// mapFile maps n bytes of an empty file. They are all there before they are
// written to: to find the disk full then would be a signal.
func mapFile(fd, n int) ([]byte, error) {
	if err := unix.Fallocate(fd, 0, 0, int64(n)); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}
