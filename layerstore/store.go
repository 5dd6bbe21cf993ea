package layerstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A Store is a directory with indexes and trees, shared by any number of
// processes.
type Store struct {
	root string
}

// DefaultRoot is where the store lies unless told otherwise: $MICA_ROOT, else
// /var/lib/mica for root and $XDG_DATA_HOME/mica for others.
func DefaultRoot() (string, error) {
	if root := os.Getenv("MICA_ROOT"); root != "" {
		return filepath.Abs(root)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/mica", nil
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "mica"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the store: %w; set MICA_ROOT", err)
	}
	return filepath.Join(home, ".local", "share", "mica"), nil
}

// Open gives the store at root, which is made at the first write.
func Open(root string) *Store { return &Store{root: root} }

// Root is the directory of the store.
func (s *Store) Root() string { return s.root }

// A NotOursError says that the store belongs to another user.
type NotOursError struct {
	Root  string
	Owner uint32
	Err   error
}

func (e *NotOursError) Error() string {
	owner := fmt.Sprintf("uid %d", e.Owner)
	if e.Owner == 0 {
		owner = "root"
	}
	return fmt.Sprintf("%s belongs to %s", e.Root, owner)
}
func (e *NotOursError) Unwrap() error { return e.Err }

// cachePath gives the path of the file of a kind ("index", "tree") for a key:
// by digest where the key is one, else by the digest of the key.
func (s *Store) cachePath(kind, key string) string {
	if hexPart, ok := strings.CutPrefix(key, "sha256:"); ok && len(hexPart) == 64 && isHex(hexPart) {
		return filepath.Join(s.root, kind, "sha256", hexPart)
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.root, kind, "key", hex.EncodeToString(sum[:]))
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// IndexPath is where the index of the layer with that [Spec.Key] is kept.
func (s *Store) IndexPath(key string) string { return s.cachePath("index", key) }

// TreePath is where the tree of a chain of layers is kept.
func (s *Store) TreePath(key string) string { return s.cachePath("tree", key) }

// Make sees to it that the cache file at path is there: if valid says no,
// it takes the lock of the path, asks again, and lets write fill a temporary
// file that then becomes path. So of any number of processes one writes.
func (s *Store) Make(ctx context.Context, path string, valid func() error, write func(f *os.File) error) error {
	if valid() == nil {
		return nil
	}
	unlock, err := s.lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	if valid() == nil {
		return nil
	}
	if err := s.writeFile(path, write); err != nil {
		return err
	}
	return valid()
}

// writeFile writes a file whole or not at all.
func (s *Store) writeFile(path string, write func(f *os.File) error) (err error) {
	f, err := s.tempFile(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return commit(f, path)
}

// tempFile makes the file that will become path. Its name is a function of
// the path, whose lock is held, so that what a killed process left is written
// over.
func (s *Store) tempFile(path string) (*os.File, error) {
	dir, base := filepath.Split(path)
	if err := s.mkdir(dir); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, ".tmp-"+base), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
}

// commit closes a finished temporary file and gives it its name. It is not synced:
// what a crash of the machine leaves of it has other checksums, and is made anew.
// To wait for the disk took 20 to 40 ms for an image of two layers.
func commit(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (s *Store) mkdir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if errors.Is(err, os.ErrPermission) {
		if st, serr := os.Stat(s.root); serr == nil {
			if owner := st.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
				return &NotOursError{Root: s.root, Owner: owner, Err: err}
			}
		}
	}
	return err
}
