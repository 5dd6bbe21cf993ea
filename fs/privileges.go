package fs

import (
	"fmt"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// keepsSetuid reports whether who asks has CAP_FSETID in our user namespace:
// his change of what is in a file leaves setuid and setgid. Of a write and of a
// change of the size the kernel tells; of fallocate and copy_file_range it tells
// neither that nor who asks, where mounts may be idmapped, but by the process.
func keepsSetuid(in *fuse.InHeader) bool {
	if in.Pid == 0 {
		return false // of a process that we cannot see; 0 would be ourselves
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(in.Pid)}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil || data[0].Effective>>unix.CAP_FSETID&1 == 0 {
		return false
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", in.Pid))
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/user")
	return err == nil && ours == theirs
}
