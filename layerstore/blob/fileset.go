package blob

import "sync"

// A fileSet is a set of files by their numbers. Its methods may be called
// concurrently.
type fileSet struct {
	mu   sync.Mutex
	bits []uint64
}

func (s *fileSet) has(file int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return file/64 < len(s.bits) && s.bits[file/64]>>(file%64)&1 != 0
}

func (s *fileSet) add(file int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for file/64 >= len(s.bits) {
		s.bits = append(s.bits, 0)
	}
	s.bits[file/64] |= 1 << (file % 64)
}
