package fs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// countedEntries is how many entries of a directory that is not empty are counted.
const countedEntries = 1000

// CheckMountpoint gives the absolute path without symlinks of a directory that
// [Mount] would mount on, so that a caller can ask before it does the work that a
// mount needs. A mount there whose server died is taken away, with a note.
// The error is a *MountError where the user can do something about it.
func CheckMountpoint(dir string, o Options) (string, error) {
	abs, err := liveDir(dir)
	if isDead(err) {
		abs, err = clearDead(dir, &o)
	}
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return "", &MountError{code: "no-mountpoint", text: dir + ": no such directory", hint: "mkdir " + dir + ", or add --mkdir", err: err}
	case errors.Is(err, syscall.ENOTDIR):
		return "", &MountError{code: "not-directory", text: dir + ": not a directory", err: err}
	case err != nil:
		return "", err
	}
	if err := checkNotMounted(dir, abs, o.RuntimeDir); err != nil {
		return "", err
	}
	if o.Nonempty {
		return abs, nil
	}
	return abs, checkEmpty(dir, abs)
}

// realDir resolves a path, the last element included, to a directory.
func realDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", err
	}
	st, err := os.Stat(abs)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", &os.PathError{Op: "mount", Path: dir, Err: syscall.ENOTDIR}
	}
	return abs, nil
}

// liveDir is realDir, with an error that isDead knows for any mount whose server
// is gone: of that the kernel may have the root's attributes still, and list it.
func liveDir(dir string) (string, error) {
	abs, err := realDir(dir)
	if err != nil {
		return "", err
	}
	if m, err := mountAt(abs); err == nil && m.FSType == fsType {
		// What the kernel never answers by itself.
		var st unix.Statfs_t
		if err := unix.Statfs(abs, &st); isDead(err) {
			return "", err
		}
	}
	return abs, nil
}

// isDead reports whether an error says "this is a mount whose server is gone".
func isDead(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
}

// clearDead detaches mounts without a server from dir, of which several may lie
// on top of one another.
func clearDead(dir string, o *Options) (string, error) {
	for {
		abs, err := realParent(dir)
		if err != nil {
			return "", err
		}
		if err := Unmount(abs, true); err != nil {
			return "", fmt.Errorf("%s: the server of the mount there is gone, and it cannot be taken away: %w", dir, err)
		}
		o.note("%s: a mount whose server is gone was taken away", dir)
		abs, err = liveDir(dir)
		if !isDead(err) {
			return abs, err
		}
	}
}

// realParent resolves all but the last element of a path, which is not touched.
func realParent(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

func checkNotMounted(dir, abs, runtimeDir string) error {
	mounts, err := Mounts(runtimeDir)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Dir != abs {
			continue
		}
		who := ""
		if m.PID != 0 {
			who = fmt.Sprintf(" (pid %d, since %s)", m.PID, m.Since.Local().Format("15:04"))
		}
		return &MountError{code: "mounted", text: fmt.Sprintf("%s already holds %s%s", dir, m.Source, who), hint: "mica umount " + dir, Mounted: &m}
	}
	return nil
}

func checkEmpty(dir, abs string) error {
	d, err := os.Open(abs)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(countedEntries + 1)
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	count := fmt.Sprintf("%d entries", len(names))
	if len(names) == 1 {
		count = "1 entry"
	}
	if len(names) > countedEntries {
		count = fmt.Sprintf("more than %d entries", countedEntries)
	}
	return &MountError{
		code: "not-empty",
		text: fmt.Sprintf("%s is not empty (%s); mounting would hide them", dir, count),
		hint: "choose another directory, or -o nonempty",
		err:  syscall.ENOTEMPTY,
	}
}
