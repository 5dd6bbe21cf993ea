package toc

import (
	"bufio"
	"io"
	"os"
	"path/filepath"

	"mica/layerstore/scratch"
)

// A spool keeps a section until its place in the index is known: in memory as
// long as it is small, then in a file without a name. What zstd layers need of
// their windows may be a good part of them, and hostile layers have millions of
// whiteouts.
type spool struct {
	dir  string // where the file lies, once there is one
	head []byte // all of it, while there is no file
	f    *os.File
	w    *bufio.Writer
	n    int64 // bytes so far
	err  error // what went wrong, told by copyTo
}

// spoolHead is how much of a section is kept in memory, in bytes.
const spoolHead = 256 << 10

// add appends bytes. What goes wrong is told by copyTo.
func (s *spool) add(b []byte) { _, _ = s.Write(b) }

// Write is add that tells what went wrong.
func (s *spool) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	if s.f == nil && len(s.head)+len(b) <= spoolHead {
		s.head = append(s.head, b...)
		return len(b), nil
	}
	if s.f == nil && s.err == nil {
		if s.f, s.err = scratch.File(s.dir); s.err == nil {
			s.w = bufio.NewWriterSize(s.f, 64<<10)
			_, s.err = s.w.Write(s.head)
			s.head = nil
		}
	}
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	return len(b), s.err
}

// copyTo writes all of it to w and gives its checksum.
func (s *spool) copyTo(w io.Writer) (sum uint32, err error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.f == nil {
		_, err := w.Write(s.head)
		return Checksum(s.head), err
	}
	if err := s.w.Flush(); err != nil {
		return 0, err
	}
	_, err = io.Copy(io.MultiWriter(w, writerFunc(func(b []byte) { sum = UpdateChecksum(sum, b) })), io.NewSectionReader(s.f, 0, s.n))
	return sum, err
}

func (s *spool) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

func spoolBeside(f *os.File) spool { return spool{dir: filepath.Dir(f.Name())} }
