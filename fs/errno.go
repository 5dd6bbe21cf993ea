package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"mica/layerstore/blob"
	"mica/overlay"
)

// status says what the caller of the system call sees. The order of cases matters.
func status(err error) fuse.Status {
	var data *blob.DataError
	var num syscall.Errno
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, context.Canceled):
		return fuse.EINTR
	case errors.As(err, &data):
		// An ENOENT in here is about a file of the cache, not about the
		// caller's path: it must not make an existing file look absent.
		return fuse.EIO
	case errors.Is(err, overlay.ErrNoXattr):
		return fuse.ENODATA
	case errors.Is(err, overlay.ErrNotDir):
		return fuse.ENOTDIR
	case errors.Is(err, overlay.ErrPastEnd):
		return fuse.Status(syscall.ENXIO)
	case errors.As(err, &num):
		if num == syscall.ENOSYS || num == 0 {
			// The kernel takes ENOSYS as "do not ask again", and 0 is success.
			return fuse.EIO
		}
		return fuse.Status(num)
	case errors.Is(err, iofs.ErrNotExist):
		return fuse.ENOENT
	}
	return fuse.EIO
}

// fail is the status of an error, and a line in the log where the error is not
// one that a program brings about by asking for what does not exist.
func (h *handlers) fail(in *fuse.InHeader, op string, err error) fuse.Status {
	st := status(err)
	if st == fuse.EIO && h.told.isNew(err.Error(), time.Now()) {
		h.log.Error("request failed", slog.String("op", op), slog.String("path", h.pathOf(node(in))), slog.Any("err", err))
	}
	return st
}

// pathOf is where a node is found, for people; a node without a known path is
// told by its number.
func (h *handlers) pathOf(id overlay.NodeID) string {
	if v, ok := feature[pather](h.view); ok {
		if path, err := v.Path(id); err == nil {
			return path
		}
	}
	return "node " + strconv.FormatUint(uint64(id), 10)
}

const (
	tellAgain = time.Minute
	tellMost  = 1000
)

// toldErrors keeps a program that reads a broken file over and over from
// filling the log: each error is told once a minute.
type toldErrors struct {
	mu   sync.Mutex
	when map[string]time.Time // at most tellMost
}

func (t *toldErrors) isNew(text string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if when, ok := t.when[text]; ok && now.Sub(when) < tellAgain {
		return false
	}
	if t.when == nil || len(t.when) >= tellMost {
		t.when = make(map[string]time.Time)
	}
	t.when[text] = now
	return true
}
