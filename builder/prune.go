package builder

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// Prune forgets all steps that were built, and removes the caches of RUN that no
// build uses. A build that runs makes its steps anew. It gives the bytes of files
// that went.
func Prune(s *layerstore.Store) (freed int64, err error) {
	for _, name := range []string{"steps", "sums"} {
		n, e := removeAll(filepath.Join(Dir(s), name))
		freed, err = freed+n, errors.Join(err, e)
	}
	for _, name := range []string{"rooms", "caches"} {
		n, e := removeUnlocked(filepath.Join(Dir(s), name))
		freed, err = freed+n, errors.Join(err, e)
	}
	return freed, err
}

// removeUnlocked removes those directories of one that nobody has locked.
func removeUnlocked(dir string) (freed int64, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		f, openErr := os.Open(filepath.Join(dir, e.Name()))
		if openErr != nil {
			err = errors.Join(err, openErr)
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			n, e := removeAll(f.Name())
			freed, err = freed+n, errors.Join(err, e)
		}
		f.Close()
	}
	return freed, err
}

// removeAll removes a directory, and tells how many bytes its files had.
func removeAll(dir string) (freed int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			freed += info.Size()
		}
		return err
	})
	if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	return freed, errors.Join(err, os.RemoveAll(dir))
}
