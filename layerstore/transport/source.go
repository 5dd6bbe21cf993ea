package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"mica/layerstore/blob"
)

// A source is a blob in a file, or in a part of one.
type source struct {
	*io.SectionReader
	id    string
	place string
	file  io.Closer // nil where the file is another's
}

var _ blob.Source = (*source)(nil)

func (s *source) ID() string { return s.id }

// Place says which file the blob lies in, as what, and where in it: another
// when its bytes may be others, whatever digest is claimed for them.
func (s *source) Place() string { return s.place }

func (s *source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// bytesSource gives a blob in memory, without an ID.
func bytesSource(b []byte) *source {
	return &source{SectionReader: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
}

// section gives n bytes of src from off on. Without a digest it is named by
// where it lies.
func section(src blob.Source, off, n int64) *source {
	s := &source{SectionReader: io.NewSectionReader(src, off, n), id: fmt.Sprintf("%s@%d+%d", src.ID(), off, n)}
	if p, ok := src.(interface{ Place() string }); ok {
		s.place = fmt.Sprintf("%s@%d+%d", p.Place(), off, n)
	}
	return s
}

// openFile opens a regular file, named by what changes when its bytes do. The
// device is left out: its number is another after a reboot.
func openFile(path string) (*source, error) {
	// Without O_NONBLOCK opening a FIFO waits for a writer for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	src, err := fileSource(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return src, nil
}

func fileSource(f *os.File, path string) (*source, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &NotImageError{Text: fmt.Sprintf("%s is not a regular file", path)}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	sys := st.Sys().(*syscall.Stat_t)
	id := fmt.Sprintf("file:%s#inode=%d,size=%d,mtime=%d,ctime=%d.%09d", abs, sys.Ino, st.Size(), st.ModTime().UnixNano(), sys.Ctim.Sec, sys.Ctim.Nsec)
	return &source{SectionReader: io.NewSectionReader(f, 0, st.Size()), id: id, place: id, file: f}, nil
}

// closers are closed together.
type closers []io.Closer

func (c closers) close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// files is an archive or a directory: blobs by slash-separated name.
type files interface {
	// open gives a file, closed by the caller; [iofs.ErrNotExist] says there is none.
	open(name string) (*source, error)
	close() error
}

// A directory is files as they lie in the file system.
type directory string

func (d directory) open(name string) (*source, error) {
	return openFile(filepath.Join(string(d), filepath.FromSlash(name)))
}

func (d directory) close() error { return nil }

// notExist is the error of open for a name that is not there.
func notExist(name string) error {
	return &iofs.PathError{Op: "open", Path: name, Err: iofs.ErrNotExist}
}

// absent says that an error tells of a file that is not there.
func absent(err error) bool { return errors.Is(err, iofs.ErrNotExist) }

// has says whether there is a file of that name, readable or not.
func has(fs files, name string) bool {
	src, err := fs.open(name)
	if err != nil {
		return !errors.Is(err, iofs.ErrNotExist)
	}
	src.Close()
	return true
}

// readFile reads a file of at most limit bytes.
func readFile(fs files, name string, limit int64) ([]byte, error) {
	src, err := fs.open(name)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return readAll(src, name, limit)
}

// readAll reads a blob of at most limit bytes; object names it in errors.
func readAll(src *source, object string, limit int64) ([]byte, error) {
	if src.Size() > limit {
		return nil, corrupt(object, "%d bytes long; more than %d are not read", src.Size(), limit)
	}
	b := make([]byte, src.Size())
	if n, err := src.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("%s: %w", object, err)
	}
	return b, nil
}

// OpenBlob opens a blob in a file of its own, as a layout in a directory has it.
func OpenBlob(path string, d digest.Digest) (interface {
	blob.Source
	io.Closer
}, error) {
	src, err := openFile(path)
	if err != nil {
		return nil, err
	}
	src.id = d.String()
	return src, nil
}
