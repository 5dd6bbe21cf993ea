package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// A Lease keeps blobs from being collected that no name leads to yet. It ends
// with its process at the latest.
type Lease struct {
	store *Store
	file  *os.File
}

// Lease gives one that holds nothing yet.
func (s *Store) Lease(ctx context.Context) (*Lease, error) {
	f, err := s.ownedFile(ctx, "leases", "", 0o600)
	if err != nil {
		return nil, err
	}
	return &Lease{s, f}, nil
}

// ownedFile makes a file in a directory of the store and locks it, which tells
// that its owner lives.
func (s *Store) ownedFile(ctx context.Context, dir, pattern string, mode os.FileMode) (*os.File, error) {
	if err := s.init(ctx); err != nil {
		return nil, err
	}
	// Who collects has the lock alone, so he finds the file locked or not at all.
	unlock, err := s.layers.Lock(ctx, lockName, true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := os.CreateTemp(s.path(dir), pattern)
	if err != nil {
		return nil, err
	}
	err = f.Chmod(mode)
	if err == nil {
		err = layerstore.Flock(ctx, f, unix.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return f, nil
}

// Hold has blobs stay if they are there. Whether they are is to be looked at
// afterwards.
func (l *Lease) Hold(ctx context.Context, digests ...digest.Digest) error {
	unlock, err := l.store.layers.Lock(ctx, lockName, true)
	if err != nil {
		return err
	}
	defer unlock()
	var lines []byte
	for _, d := range digests {
		lines = fmt.Appendln(lines, d)
	}
	_, err = l.file.Write(lines)
	return err
}

// Release ends the lease.
func (l *Lease) Release() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}

// leased adds what living leases hold, and takes away those of the dead. The
// lock is held.
func (s *Store) leased(add func(digest.Digest)) error {
	entries, err := os.ReadDir(s.path("leases"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.readLease(s.path("leases", e.Name()), add); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Store) readLease(path string, add func(digest.Digest)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return os.Remove(path)
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		add(digest.Digest(lines.Text()))
	}
	return lines.Err()
}
