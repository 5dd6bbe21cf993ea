package layerstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lock takes the lock of a cache file and gives what lets it go.
func (s *Store) lock(ctx context.Context, path string) (func(), error) {
	// By the path inside of the store, which may be reached by several names.
	name, err := filepath.Rel(s.root, path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(name))
	return s.Lock(ctx, hex.EncodeToString(sum[:16]), false)
}

// Lock waits for the lock of that name, alone or shared with others, and gives
// what lets it go. The lock is a flock, which the kernel lets go with the
// process.
func (s *Store) Lock(ctx context.Context, name string, shared bool) (func(), error) {
	dir := filepath.Join(s.root, "locks")
	if err := s.mkdir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	if err := Flock(ctx, f, how); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Flock waits for a lock on an open file, unix.LOCK_EX or unix.LOCK_SH, which
// is let go when the file is closed.
func Flock(ctx context.Context, f *os.File, how int) error {
	for {
		// Not the waiting form, which a cancelled context could not end.
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lockPoll is how often a lock that another process holds is tried.
const lockPoll = 10 * time.Millisecond
