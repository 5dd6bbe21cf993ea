package images

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"math"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A SpaceError says that something does not fit, before its first byte is
// written.
type SpaceError struct {
	Need, Free int64 // in bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("no space left on device: needs %d bytes, %d are free", e.Need, e.Free)
}
func (e *SpaceError) Unwrap() error { return unix.ENOSPC }

// room says whether so many bytes more fit beside a file.
func room(f *os.File, need int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; need > free {
		return &SpaceError{need, free}
	}
	return nil
}

// RoomIn says whether so many bytes fit below a directory.
func RoomIn(dir string, need int64) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(room(f, need), f.Close())
}

// room says whether those of these blobs fit that are not there yet.
func (s *Store) room(blobs []ocispec.Descriptor) error {
	var need int64
	seen := map[digest.Digest]bool{}
	for _, d := range blobs {
		if seen[d.Digest] || s.Has(d) {
			continue
		}
		seen[d.Digest] = true
		missing := d.Size
		if st, err := os.Stat(s.partialPath(d.Digest)); err == nil && st.Size() < d.Size {
			missing -= st.Size()
		}
		if need > math.MaxInt64-missing {
			need = math.MaxInt64 // more than there is anywhere
			break
		}
		need += missing
	}
	return RoomIn(s.layers.Root(), need)
}

// SavedSize is about how long an archive of images gets, in bytes.
func (s *Store) SavedSize(ctx context.Context, all []Saved) (int64, error) {
	blobs := map[digest.Digest]bool{}
	for _, img := range all {
		if err := s.reach(img.Desc.Digest, blobs); err != nil {
			return 0, err
		}
	}
	const head = 1 << 10 // and what fills the last block
	var size int64
	for d := range blobs {
		st, err := os.Stat(s.BlobPath(d))
		if errors.Is(err, iofs.ErrNotExist) {
			continue // of another platform
		}
		if err != nil {
			return 0, err
		}
		size += st.Size() + head
	}
	return size, ctx.Err()
}
