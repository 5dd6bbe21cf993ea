package ondisk

import (
	"bytes"
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// An Entry is what a directory says of a name. It is a hint: the type may be
// unknown, and the number that of what a mount on it hides.
type Entry struct {
	Name string
	Type uint32 // S_IFMT, 0 is unknown
	Ino  uint64
}

// Scan calls emit for the entries of the directory that is open as dir, until
// emit returns false. "." and ".." are left out. It may run several times at
// once.
func Scan(dir int, emit func(Entry) bool) error {
	// A descriptor of its own, as a position belongs to it, and as dir may be
	// good for nothing but to find names in it (O_PATH).
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, ".", flags|unix.O_NOATIME, 0)
	if err == unix.EPERM {
		fd, err = unix.Openat(dir, ".", flags, 0) // another's directory
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			return err
		}
		for b := buf[:n]; len(b) > 0; {
			// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name
			reclen := binary.NativeEndian.Uint16(b[16:])
			name, _, _ := bytes.Cut(b[19:reclen], []byte{0})
			// DT_* are S_IF* without their lowest bits, DT_UNKNOWN is 0.
			e := Entry{Name: string(name), Type: uint32(b[18]) << 12, Ino: binary.NativeEndian.Uint64(b)}
			if e.Name != "." && e.Name != ".." && !emit(e) {
				return nil
			}
			b = b[reclen:]
		}
	}
}

// Names gives the names in a directory that begin with a prefix.
func Names(dir int, prefix string) (names []string, err error) {
	err = Scan(dir, func(e Entry) bool {
		if strings.HasPrefix(e.Name, prefix) {
			names = append(names, e.Name)
		}
		return true
	})
	return names, err
}

// EntriesNumber reports whether the numbers in the entries of a file system are
// those that stat(2) has. It knows those of which it is sure.
func EntriesNumber(dir int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(dir, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.F2FS_SUPER_MAGIC, unix.EROFS_SUPER_MAGIC_V1:
		return true
	}
	return false // btrfs has other numbers for the roots of subvolumes
}
