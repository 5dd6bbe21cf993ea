package fs

import (
	"fmt"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// keepsSetuid reports whether who asks has CAP_FSETID: his change of what is in a
// file leaves setuid and setgid. Of a write and of a change of the size the
// kernel tells; of fallocate and copy_file_range it does not.
func keepsSetuid(in *fuse.InHeader) bool { return hasCapability(in, unix.CAP_FSETID) }

// hasCapability reports whether who asks has a capability in our user namespace.
// The kernel does not tell, nor who asks where mounts may be idmapped, but by the
// process.
func hasCapability(in *fuse.InHeader, capability int) bool {
	if in.Pid == 0 {
		return false // of a process that we cannot see; 0 would be ourselves
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(in.Pid)}
	var data [2]unix.CapUserData // of 32 capabilities each
	if err := unix.Capget(&header, &data[0]); err != nil || data[capability/32].Effective>>(capability%32)&1 == 0 {
		return false
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", in.Pid))
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/user")
	return err == nil && ours == theirs
}
