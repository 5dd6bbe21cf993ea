package toc

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A spool keeps a section in a file without a name until its place in the
// index is known: what zstd layers need of their windows may be a good part of
// them, and must not be in memory.
type spool struct {
	dir string // where the file lies, once there is one
	f   *os.File
	w   *bufio.Writer
	n   int64 // bytes so far
	err error // what went wrong, told by copyTo
}

// add appends bytes.
func (s *spool) add(b []byte) {
	if s.f == nil && s.err == nil && len(b) > 0 {
		if s.f, s.err = unnamedFile(s.dir); s.err == nil {
			s.w = bufio.NewWriterSize(s.f, 256<<10)
		}
	}
	if s.err == nil && len(b) > 0 {
		_, s.err = s.w.Write(b)
	}
	s.n += int64(len(b))
}

// copyTo writes all of it to w and gives its checksum.
func (s *spool) copyTo(w io.Writer) (uint32, error) {
	if s.f == nil || s.err != nil {
		return 0, s.err
	}
	if err := s.w.Flush(); err != nil {
		return 0, err
	}
	var sum uint32
	_, err := io.Copy(io.MultiWriter(w, writerFunc(func(b []byte) { sum = UpdateChecksum(sum, b) })), io.NewSectionReader(s.f, 0, s.n))
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

// unnamedFile makes a file that is gone when it is closed.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil {
		return f, nil
	}
	// Not every file system can.
	f, err = os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func spoolBeside(f *os.File) spool { return spool{dir: filepath.Dir(f.Name())} }
