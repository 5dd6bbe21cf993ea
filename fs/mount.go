package fs

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	fuseDevice = "/dev/fuse"
	fsType     = "fuse.mica"
)

// attachDevice makes the mount and gives its end of /dev/fuse: by mount(2) as
// root, by the setuid fusermount3 for others.
func attachDevice(dir string, o *Options) (*os.File, error) {
	if os.Geteuid() == 0 {
		return mountDirectly(dir, o)
	}
	return mountByHelper(dir, o)
}

func mountDirectly(dir string, o *Options) (*os.File, error) {
	dev, err := openDevice(fuseDevice)
	if err != nil {
		return nil, err
	}
	var flags uintptr
	for _, f := range []struct {
		set  bool
		flag uintptr
	}{{!o.Writable, unix.MS_RDONLY}, {o.NoSuid, unix.MS_NOSUID}, {o.NoDev, unix.MS_NODEV}, {o.NoExec, unix.MS_NOEXEC}, {o.NoAtime, unix.MS_NOATIME}} {
		if f.set {
			flags |= f.flag
		}
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,max_read=%d",
		dev.Fd(), unix.S_IFDIR, os.Geteuid(), os.Getegid(), maxRead)
	if o.AllowOther {
		data += ",allow_other"
	}
	if o.kernelChecks() {
		data += ",default_permissions"
	}
	if err := unix.Mount(o.Source, dir, fsType, flags, data); err != nil {
		dev.Close()
		return nil, mountRefused(dir, err)
	}
	return dev, nil
}

func mountRefused(dir string, err error) error {
	switch err {
	case unix.ENODEV:
		return noDevice(fuseDevice, err)
	case unix.EPERM:
		return &MountError{code: "no-fuse", text: fmt.Sprintf("mount on %s: %v", dir, err), hint: "in a container add --device /dev/fuse --cap-add SYS_ADMIN", err: err}
	}
	return &MountError{code: "mount-refused", text: fmt.Sprintf("mount on %s: %v", dir, err), err: err}
}

// openDevice opens /dev/fuse, or says why there is none for us.
func openDevice(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), path), nil
	case err == unix.ENOENT || err == unix.ENODEV || err == unix.ENXIO:
		return nil, noDevice(path, err)
	case errors.Is(err, os.ErrPermission):
		return nil, &MountError{
			code: "no-fuse",
			text: fmt.Sprintf("open %s: permission denied%s", path, modeAndOwner(path)),
			hint: "Debian's udev sets 0666; run: chmod 666 /dev/fuse as root",
			err:  err,
		}
	}
	return nil, &os.PathError{Op: "open", Path: path, Err: err}
}

func noDevice(path string, err error) error {
	return &MountError{
		code: "no-fuse",
		text: path + ": no such device",
		hint: "modprobe fuse; in a container add --device /dev/fuse --cap-add SYS_ADMIN; or without FUSE: mica export, mica cat",
		err:  err,
	}
}

// modeAndOwner gives " (mode 0600 root:root)", or "" if it cannot.
func modeAndOwner(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sys := st.Sys().(*syscall.Stat_t)
	owner, group := fmt.Sprint(sys.Uid), fmt.Sprint(sys.Gid)
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf(" (mode %04o %s:%s)", st.Mode().Perm(), owner, group)
}

// raiseReadahead lets the kernel read ahead as far as one request goes. The
// server can only lower the system's default, 128 KiB, in its reply to INIT;
// root may raise it here. It is left as it is where that fails.
func (s *Server) raiseReadahead() {
	if os.Geteuid() != 0 {
		return
	}
	m, err := mountAt(s.dir)
	if err != nil {
		return
	}
	path := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", m.Major, m.Minor)
	if err := os.WriteFile(path, []byte(fmt.Sprint(maxRead/1024)), 0); err != nil {
		s.log.Debug("readahead stays at the system's default", "err", err)
	}
}

// allowOtherInConf reports whether fuse.conf lets users share their mounts.
func allowOtherInConf(conf string) bool {
	b, err := os.ReadFile(conf)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}
