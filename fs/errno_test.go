package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"
	"testing"
	"time"

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

func TestToldErrors(t *testing.T) {
	var told toldErrors
	now := time.Now()
	for i, tt := range []struct {
		text string
		at   time.Duration
		want bool
	}{
		{"a", 0, true},
		{"a", time.Second, false},
		{"b", 2 * time.Second, true},
		{"a", tellAgain, true},
		{"a", tellAgain + time.Second, false},
	} {
		if got := told.isNew(tt.text, now.Add(tt.at)); got != tt.want {
			t.Errorf("%d: isNew(%q) after %v = %v", i, tt.text, tt.at, got)
		}
	}
	for i := range 3 * tellMost {
		told.isNew(fmt.Sprint(i), now)
	}
	if n := len(told.when); n > tellMost {
		t.Errorf("%d errors kept, want at most %d", n, tellMost)
	}
}
