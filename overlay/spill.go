package overlay

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"mica/layerstore/scratch"
)

// A spill is where the tables of a merge are when they grow large: in files
// without names, mapped into memory. So the kernel may write out what it has no
// room for, and an image of ten million names takes no more memory of its own
// than one of a hundred thousand. Where that cannot be, they stay on the heap.
type spill struct {
	dir  string // where the files lie
	maps map[unsafe.Pointer]*mapping
}

// A mapping is one table.
type mapping struct {
	f    *os.File
	data []byte
}

// spillFrom is how long a table is before it moves to a file, in bytes.
const spillFrom = 2 << 20

func newSpill(dir string) *spill { return &spill{dir: dir, maps: map[unsafe.Pointer]*mapping{}} }

// grown gives the table s with room for n elements more. It may lie elsewhere
// then: nothing may refer to the old place any more. T has no pointers.
func grown[T any](p *spill, s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	room := max(2*cap(s), len(s)+n, 64)
	size := room * int(unsafe.Sizeof(*new(T)))
	old := p.maps[unsafe.Pointer(unsafe.SliceData(s))]
	if size >= spillFrom {
		if b := p.grow(old, size); b != nil {
			t := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), room)[:len(s)]
			if old == nil {
				copy(t, s)
			}
			return t
		}
	}
	t := make([]T, len(s), room)
	copy(t, s)
	if old != nil {
		// What cannot be given back now is when the process ends.
		_ = p.free(old)
	}
	return t
}

// pushed is append of one element.
func pushed[T any](p *spill, s []T, v T) []T { return append(grown(p, s, 1), v) }

// zeroed gives a new table of n elements.
func zeroed[T any](p *spill, n int) []T { return grown[T](p, nil, n)[:n] }

// freed gives a table back that nothing refers to any more.
func freed[T any](p *spill, s []T) {
	if m := p.maps[unsafe.Pointer(unsafe.SliceData(s))]; m != nil {
		_ = p.free(m)
	}
}

// grow makes a mapping, or lengthens one, to size bytes; those that are new are
// zeros. It gives nil where it cannot: the old one is as it was then.
func (p *spill) grow(old *mapping, size int) []byte {
	m := old
	if m == nil {
		f, err := scratch.File(p.dir)
		if err != nil {
			return nil
		}
		m = &mapping{f: f}
	}
	data, err := m.extended(size)
	if err != nil {
		if old == nil {
			_ = m.f.Close()
		}
		return nil
	}
	if old != nil {
		delete(p.maps, unsafe.Pointer(unsafe.SliceData(old.data)))
	}
	m.data = data
	p.maps[unsafe.Pointer(unsafe.SliceData(m.data))] = m
	return m.data
}

// extended gives the mapping at another length. The blocks are there before they
// are written to: to find the disk full then would be a signal, not an error.
func (m *mapping) extended(size int) ([]byte, error) {
	if err := unix.Fallocate(int(m.f.Fd()), 0, 0, int64(size)); err != nil {
		return nil, err
	}
	if m.data == nil {
		return unix.Mmap(int(m.f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	return unix.Mremap(m.data, size, unix.MREMAP_MAYMOVE)
}

// free gives a mapping back.
func (p *spill) free(m *mapping) error {
	delete(p.maps, unsafe.Pointer(unsafe.SliceData(m.data)))
	return errors.Join(unix.Munmap(m.data), m.f.Close())
}

// close gives all back. No table that was grown may be used after it.
func (p *spill) close() (err error) {
	for _, m := range p.maps {
		err = errors.Join(err, p.free(m))
	}
	return err
}
