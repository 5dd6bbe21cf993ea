package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"mica/layerstore/blob"
	"mica/overlay"
)

func TestStatus(t *testing.T) {
	_, openErr := os.Open("/nonexistent")
	for _, tt := range []struct {
		about string
		err   error
		want  syscall.Errno
	}{
		{"none", nil, 0},
		{"interrupted", fmt.Errorf("span 3: %w", context.Canceled), syscall.EINTR},
		{"interrupted within bad data", &blob.DataError{Err: context.Canceled}, syscall.EINTR},
		{"bad data", &blob.DataError{Err: errors.New("checksum")}, syscall.EIO},
		{"a file of the cache is missing", fmt.Errorf("read: %w", &blob.DataError{Err: openErr}), syscall.EIO},
		{"no such name", fmt.Errorf("x: %w", iofs.ErrNotExist), syscall.ENOENT},
		{"no such attribute", overlay.ErrNoXattr, syscall.ENODATA},
		{"not a directory", overlay.ErrNotDir, syscall.ENOTDIR},
		{"past the end", overlay.ErrPastEnd, syscall.ENXIO},
		{"an errno", &os.PathError{Err: syscall.EINVAL}, syscall.EINVAL},
		{"ENOSYS, which the kernel would remember", syscall.ENOSYS, syscall.EIO},
		{"an errno that says success", fmt.Errorf("odd: %w", syscall.Errno(0)), syscall.EIO},
		{"unknown", errors.New("what"), syscall.EIO},
	} {
		if got := status(tt.err); got != fuse.Status(tt.want) {
			t.Errorf("%s: status(%v) = %v, want %v", tt.about, tt.err, got, fuse.Status(tt.want))
		}
	}
}
