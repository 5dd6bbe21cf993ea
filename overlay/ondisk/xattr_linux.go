package ondisk

import (
	"bytes"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxXattr is the most that the kernel has for one value, and for all names.
const maxXattr = 64 << 10

// Xattr gives an attribute of name in the directory that is open as dir, "."
// being that itself. It is nil if there is none, or if the file system has no
// attributes.
func Xattr(dir int, name, attr string) ([]byte, error) {
	for buf := make([]byte, 256); ; buf = make([]byte, maxXattr) {
		n, err := getXattrAt(dir, name, attr, buf)
		switch {
		case err == nil:
			return buf[:n:n], nil
		case err == unix.ENODATA || err == unix.ENOTSUP:
			return nil, nil
		case err != unix.ERANGE || len(buf) == maxXattr:
			return nil, err
		}
	}
}

// Xattrs gives the names of all attributes.
func Xattrs(dir int, name string) ([]string, error) {
	for buf := make([]byte, 1024); ; buf = make([]byte, maxXattr) {
		n, err := listXattrAt(dir, name, buf)
		if err == unix.ERANGE && len(buf) < maxXattr {
			continue
		}
		if err == unix.ENOTSUP {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var names []string
		for attr := range bytes.SplitSeq(buf[:n], []byte{0}) {
			if len(attr) > 0 {
				names = append(names, string(attr))
			}
		}
		return names, nil
	}
}

// SetXattr sets an attribute; flags are those of setxattr(2).
func SetXattr(dir int, name, attr string, value []byte, flags int) error {
	return unix.Lsetxattr(procPath(dir, name), attr, value, flags)
}

// RemoveXattr removes an attribute.
func RemoveXattr(dir int, name, attr string) error {
	return unix.Lremovexattr(procPath(dir, name), attr)
}

// oldKernel is set when the kernel has no getxattrat(2), which is of Linux 6.13.
// Then the way is through /proc, which takes four times as long.
var oldKernel atomic.Bool

// xattrArgs is struct xattr_args of a machine whose pointers have 64 bits.
type xattrArgs struct {
	value *byte
	size  uint32
	flags uint32
}

// haveXattrAt reports whether the new system calls can be tried.
func haveXattrAt() bool { return unsafe.Sizeof(uintptr(0)) == 8 && !oldKernel.Load() }

func getXattrAt(dir int, name, attr string, buf []byte) (int, error) {
	if haveXattrAt() {
		path, err := unix.BytePtrFromString(name)
		if err != nil {
			return 0, err
		}
		what, err := unix.BytePtrFromString(attr)
		if err != nil {
			return 0, err
		}
		args := xattrArgs{value: unsafe.SliceData(buf), size: uint32(len(buf))}
		n, _, errno := unix.Syscall6(unix.SYS_GETXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(path)), unix.AT_SYMLINK_NOFOLLOW,
			uintptr(unsafe.Pointer(what)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
		if errno != unix.ENOSYS {
			return int(n), errnoError(errno)
		}
		oldKernel.Store(true)
	}
	return unix.Lgetxattr(procPath(dir, name), attr, buf)
}

func listXattrAt(dir int, name string, buf []byte) (int, error) {
	if haveXattrAt() {
		path, err := unix.BytePtrFromString(name)
		if err != nil {
			return 0, err
		}
		n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(path)), unix.AT_SYMLINK_NOFOLLOW,
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
		if errno != unix.ENOSYS {
			return int(n), errnoError(errno)
		}
		oldKernel.Store(true)
	}
	return unix.Llistxattr(procPath(dir, name), buf)
}

func errnoError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// procPath is a path to name in an open directory.
func procPath(dir int, name string) string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }

// Holds reports whether a directory could have an attribute, which it may have or
// not.
func Holds(dir int, attr string) (bool, error) {
	_, err := getXattrAt(dir, ".", attr, nil)
	switch err {
	case nil, unix.ENODATA, unix.ERANGE:
		return true, nil
	case unix.ENOTSUP:
		return false, nil
	}
	return false, err
}
