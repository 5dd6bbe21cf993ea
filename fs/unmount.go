package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Unmount takes the mount at dir away: lazily, it vanishes from sight at once
// and ends when its last user has left. The error is a *BusyError if someone
// uses it.
func Unmount(dir string, lazy bool) error {
	var err error
	if os.Geteuid() == 0 {
		err = unmountDirectly(dir, lazy)
	} else {
		err = unmountByHelper(dir, lazy)
	}
	if errors.Is(err, unix.EBUSY) {
		return &BusyError{Dir: dir, Users: usersOf(dir)}
	}
	return err
}

// Abort has the kernel answer by errors whatever the processes of a dead mount have
// left: a thread that was killed in a push (push.go) may wait for it, with the mount
// locked. Users may do so with mounts of their own.
func (m *Info) Abort() error {
	return os.WriteFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", m.minor), []byte("1"), 0)
}

func unmountDirectly(dir string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	if err := unix.Unmount(dir, flags); err != nil {
		if err == unix.EINVAL {
			return fmt.Errorf("%s: not mounted", dir)
		}
		return &os.PathError{Op: "unmount", Path: dir, Err: err}
	}
	return nil
}

func unmountByHelper(dir string, lazy bool) error {
	path, err := helper()
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	words, err := runHelper(path, exec.Command(path, append(args, "--", dir)...))
	if err != nil && strings.Contains(words, "busy") {
		return unix.EBUSY
	}
	if err != nil {
		return errors.New(words)
	}
	return nil
}
