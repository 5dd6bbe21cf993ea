package container

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openInRoot opens a path of a container as its own processes would: symlinks,
// absolute ones and ".." too, lead nowhere outside of root, also while hostile
// processes rename what it leads through (openat2(2), Linux 5.6).
func openInRoot(root, path string, flags int) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dir, path, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case err == unix.EINTR, err == unix.EAGAIN && tries < 100:
			// EAGAIN: something on the way was renamed meanwhile.
		default:
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// readInRoot reads a file of a container of at most limit bytes. What is no
// regular file has no contents: it could be read without end.
func readInRoot(root, path string, limit int64) ([]byte, error) {
	f, err := openInRoot(root, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &os.PathError{Op: "read", Path: path, Err: unix.EFBIG}
	}
	return b, err
}

// maxAccounts bounds /etc/passwd and /etc/group, in bytes.
const maxAccounts = 16 << 20

// accounts gives a file of accounts; one that is not there is empty.
func accounts(root, path string) (io.Reader, error) {
	b, err := readInRoot(root, path, maxAccounts)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = nil
	}
	return bytes.NewReader(b), err
}

// Open opens a path in the root file system of a container, which is mounted, as
// a process in it would: no symlink leads out. A command that runs has
// mounts of its own, which are seen too.
func (c *Container) Open(path string, flags int) (*os.File, error) {
	root := c.Root()
	if c.running() {
		root = c.execRoot()
	}
	return openInRoot(root, path, flags)
}
