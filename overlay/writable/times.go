package writable

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// What is written to a file of the upper moves its time of change to now. To the
// kernel, which keeps what is written for a while, that time is the one at which
// the program wrote. It tells this one by SETATTR, but only if it is not what it
// believes to be on disk already. So nothing but SETATTR may move it: else a file
// shows another time after the next mount.

// unmoved is the time of change of a file that is being written to. View.mu
// guards it.
type unmoved struct {
	writers int
	mtime   unix.Timespec
}

// openToWrite gives a regular file after copy-up. The caller gives it to wrote.
func (v *View) openToWrite(id overlay.NodeID) (*ondisk.File[*node], error) {
	if err := v.raise(id, -1); err != nil {
		return nil, err
	}
	v.lock()
	defer v.mu.Unlock()
	n, err := v.own(id, -1)
	if err != nil {
		return nil, err
	}
	f, err := v.file(n)
	if err != nil {
		return nil, err
	}
	if n.unmoved.writers == 0 {
		var st unix.Stat_t
		if err := unix.Fstat(f.FD, &st); err != nil {
			v.fds.Put(f)
			return nil, err
		}
		n.unmoved.mtime = st.Mtim
	}
	n.unmoved.writers++
	return f, nil
}

// wrote lets go of a file that was written to, with the time that it had, or
// that it was given meanwhile. It passes the error of the write on.
func (v *View) wrote(f *ondisk.File[*node], err error) error {
	defer v.fds.Put(f)
	v.mu.Lock()
	defer v.mu.Unlock()
	f.Key.unmoved.writers--
	if e := futimens(f.FD, unix.Timespec{Nsec: unix.UTIME_OMIT}, f.Key.unmoved.mtime); err == nil {
		err = e
	}
	return err
}

// futimens is futimens(3), for which there is no path and none is needed.
func futimens(fd int, atime, mtime unix.Timespec) error {
	ts := [2]unix.Timespec{atime, mtime}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// writeError tells what a descriptor that could only be opened to read means.
func writeError(err error) error {
	if err == unix.EBADF || err == unix.EINVAL {
		return unix.EROFS
	}
	return err
}
