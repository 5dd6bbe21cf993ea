package fs

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// An Info is one mount of mica's that can be seen from here.
type Info struct {
	Dir     string
	Source  string // the image's reference
	Options string // those of the mount and of FUSE as in /proc/self/mountinfo, comma-separated
	// PID is the server's process, and Since when it was mounted; 0 and the zero
	// time where no record tells. Holder is the process that has another server
	// take over; 0 if there is none.
	PID, Holder int
	Since       time.Time
	// Dead reports that all its processes are known to be gone: whoever enters
	// the mount gets ENOTCONN.
	Dead bool
	// Restarting reports that the server has died and another one is on its way.
	Restarting bool
	// Unheld reports that none would come: the holder was killed, or there was
	// none. It is false where no record tells.
	Unheld bool

	// Where its record and sockets are: "" if there is none.
	runtimeDir string
	minor      int // of the mount's device
}

// Mounts lists the mounts of mica, in the order in which they were mounted.
// runtimeDir is where records of their servers may be; root's are looked at too.
// No mount is touched, so that a dead or slow one does no harm.
func Mounts(runtimeDir string) ([]Info, error) {
	entries, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != fsType && !(m.FSType == overlayType && strings.HasPrefix(m.Source, overlaySource)), false
	})
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	mounts := make([]Info, len(entries))
	for i, m := range entries {
		m.Source = strings.TrimPrefix(m.Source, overlaySource)
		mounts[i] = Info{Dir: m.Mountpoint, Source: m.Source, Options: m.Options + "," + m.VFSOptions, minor: m.Minor}
		if r := findRecord(m.Minor, m.Source, runtimeDir, rootRuntimeDir); r != nil {
			mounts[i].PID, mounts[i].Since = r.PID, r.Since
			mounts[i].runtimeDir = filepath.Dir(r.path)
			alive, held := r.alive(), r.held()
			mounts[i].Dead = !alive && !held
			mounts[i].Restarting = !alive && held
			mounts[i].Unheld = alive && !held
			if held {
				mounts[i].Holder = r.Holder.PID
			}
		}
	}
	return mounts, nil
}

// mountAt is the mount that is seen at an absolute path without symlinks: of
// several on top of one another, the last.
func mountAt(abs string) (*mountinfo.Info, error) {
	entries, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != abs, false })
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s: not mounted", abs)
	}
	return entries[len(entries)-1], nil
}

// Writable reports whether the mount takes changes.
func (m *Info) Writable() bool { return strings.HasPrefix(m.Options, "rw") }

// MountedAt reports whether something is mounted at an absolute path without
// symlinks.
func MountedAt(abs string) (bool, error) {
	mounted, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != abs, false })
	return len(mounted) > 0, err
}

// Ended waits until the processes of a mount that was taken away have ended,
// which may have files to tidy up, and reports whether they have.
func (m *Info) Ended(timeout time.Duration) bool {
	end := time.Now().Add(timeout)
	for _, pid := range []int{m.PID, m.Holder} {
		if pid == 0 {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone
		}
		// It can be read once the process has ended, whoever waits for that.
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(end).Milliseconds())))
		}
		unix.Close(fd)
		if n == 0 || err != nil {
			return false
		}
	}
	return true
}
