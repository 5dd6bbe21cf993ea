package dirs

import (
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay/ondisk"
)

// Files that mark what is deleted by their names, as aufs had them, OCI layers
// have them, and fuse-overlayfs and podman write them into directories when they
// mount by a program. Only empty files count, so that one with contents may bear
// such a name.
const (
	aufsMark   = ".wh."
	aufsOpaque = ".wh..wh..opq"
)

// aufsMarks gives the names that such files of the directory name: of what is
// deleted, and "" if the directory is opaque. Most directories have none.
func (d *diskDir) aufsMarks() (map[string]bool, error) {
	if d.disk.plain {
		return nil, nil
	}
	d.aufsOnce.Do(func() { d.aufs, d.aufsErr = d.readAufsMarks() })
	return d.aufs, d.aufsErr
}

func (d *diskDir) readAufsMarks() (marks map[string]bool, err error) {
	err = d.with(func(fd int) error {
		names, err := ondisk.Names(fd, aufsMark)
		if err != nil {
			return d.fail(d.name, err)
		}
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return d.fail(name, err)
			}
			if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != 0 {
				continue
			}
			if marks == nil {
				marks = map[string]bool{}
			}
			if name == aufsOpaque {
				marks[""] = true
			} else {
				marks[strings.TrimPrefix(name, aufsMark)] = true
			}
		}
		return nil
	})
	return marks, err
}

// isAufsMark reports whether a name is that of such a file.
func isAufsMark(marks map[string]bool, name string) bool {
	rest, ok := strings.CutPrefix(name, aufsMark)
	return ok && (marks[rest] || name == aufsOpaque && marks[""])
}
