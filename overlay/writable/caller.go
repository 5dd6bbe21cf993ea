package writable

import (
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A Caller is who asks for a change.
type Caller struct {
	UID, GID uint32
	// Umask is taken from the mode where the directory has no default ACL, as
	// the file system of the upper does it.
	Umask uint32
	// Request is the kernel's number of the request.
	Request uint64
	// Again says that a server which has died may have done this already: that
	// it is done is no error then. The kernel has looked before it asked, and
	// holds the directories locked.
	Again bool
}

// changesIdentity is whether this process may take another's; else all that it
// makes is its own.
var changesIdentity = sync.OnceValue(func() bool { return os.Geteuid() == 0 })

// noSetuidFixup is SECBIT_NO_SETUID_FIXUP (capabilities(7)).
const noSetuidFixup = 1 << 2

// as calls f, which makes a file, as the caller: owner, group, default ACLs and
// quota are what the file system of the upper makes of them. Capabilities are
// kept: that the caller may do it the kernel has checked, with all his groups.
// View.mu is held, as the umask is the whole process's.
func (v *View) as(c Caller, f func() error) error {
	if c.Umask != v.umask {
		unix.Umask(int(c.Umask))
		v.umask = c.Umask
	}
	if !changesIdentity() || c.UID == 0 && c.GID == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noSetuidFixup, 0, 0, 0); err != nil {
		return err
	}
	gid, _ := unix.SetfsgidRetGid(int(c.GID))
	uid, _ := unix.SetfsuidRetUid(int(c.UID))
	defer func() {
		_, _ = unix.SetfsuidRetUid(uid)
		_, _ = unix.SetfsgidRetGid(gid)
	}()
	return f()
}
