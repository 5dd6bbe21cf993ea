package fs

import (
	"fmt"
	"os"
)

// What follows says whether a mount can be made here, without making one.

// CheckDevice opens /dev/fuse. The error is the one that [Mount] would give.
func CheckDevice() error {
	dev, err := openDevice(fuseDevice)
	if err != nil {
		return err
	}
	return dev.Close()
}

// CheckHelper gives the path of fusermount3, which mounts for those who are not
// root. The error is the one that [Mount] would give them.
func CheckHelper() (path string, err error) {
	if path, err = helper(); err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Mode()&os.ModeSetuid == 0 {
		return "", helperRefused(path, fmt.Sprintf("mode %04o", st.Mode().Perm()), nil)
	}
	return path, nil
}

// UserAllowOther reports whether those who are not root may let others into
// their mounts.
func UserAllowOther() bool { return allowOtherInConf("/etc/fuse.conf") }
