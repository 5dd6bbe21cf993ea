package fs

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Private gives the calling goroutine mounts of its own, which nobody else sees
// and which end with the last process that it starts: from now on it stays on one
// thread, and that is in a mount namespace of its own. What it mounts another
// goroutine can serve, but not unmount. Only root may.
func Private() error {
	runtime.LockOSThread() // for good: the thread is not fit for others any more
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// What is mounted outside is still seen here, but not the other way round.
	return os.NewSyscallError("mount", unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""))
}
