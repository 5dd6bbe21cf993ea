package scratch

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File makes a file in dir that is gone when it is closed. Its Name is a path in
// dir at which there is nothing.
func File(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "(no name)")), nil
	}
	// Not every file system can.
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Somewhere makes such a file for which use is nil: in dir if that is not "", or
// else where temporary files go. /tmp is memory on many machines, and so the last
// choice. The error is that of the first place.
func Somewhere(dir string, use func(*os.File) error) (*os.File, error) {
	var first error
	for _, dir := range []string{dir, os.Getenv("TMPDIR"), "/var/tmp", "/tmp"} {
		if dir == "" {
			continue
		}
		f, err := File(dir)
		if err == nil {
			if err = use(f); err == nil {
				return f, nil
			}
			err = errors.Join(err, f.Close())
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}
