package fs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// helperDirs is where fusermount3 is looked for besides PATH, which mount(8)
// and systemd may have emptied.
var helperDirs = []string{"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"}

// helper finds the setuid program that mounts and unmounts for users.
func helper() (string, error) {
	for _, name := range []string{"fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range helperDirs {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", &MountError{
		code: "no-fusermount",
		text: fmt.Sprintf("mounting as uid %d needs fusermount3, which is not in PATH", os.Geteuid()),
		hint: "apt install fuse3, or run as root",
		err:  exec.ErrNotFound,
	}
}

// mountByHelper has fusermount3 open the device and mount it. The helper hands
// the descriptor over a socket that it is told of in _FUSE_COMMFD.
func mountByHelper(dir string, o *Options) (*os.File, error) {
	path, err := helper()
	if err != nil {
		return nil, err
	}
	// The helper's own message about the device names neither mode nor owner.
	dev, err := openDevice(fuseDevice)
	if err != nil {
		return nil, err
	}
	dev.Close()
	if o.AllowOther && !allowOtherInConf("/etc/fuse.conf") {
		o.AllowOther = false
		o.note("allow_other left out: user_allow_other is not set in /etc/fuse.conf; only you can enter the mount")
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	cmd := exec.Command(path, "-o", helperOptions(o), "--", dir)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	words, err := runHelper(path, cmd)
	theirs.Close()
	if err != nil {
		return nil, helperRefused(path, words, err)
	}
	return receiveFile(ours, fuseDevice)
}

func helperRefused(path, words string, err error) error {
	e := &MountError{code: "mount-refused", text: words, err: err}
	if st, serr := os.Stat(path); serr == nil && st.Mode()&os.ModeSetuid == 0 {
		e.code, e.text = "no-fusermount", fmt.Sprintf("%s is not setuid root, so that it cannot mount: %s", path, words)
		e.hint = "chmod u+s " + path + " as root, or run as root"
	}
	return e
}

// runHelper runs fusermount3 and gives what it said, without its name.
func runHelper(path string, cmd *exec.Cmd) (words string, err error) {
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	words = strings.TrimPrefix(strings.TrimSpace(stderr.String()), path+": ")
	if words == "" && err != nil {
		words = fmt.Sprintf("%s: %v", path, err)
	}
	return words, err
}

// helperOptions is the -o of fusermount3. It takes the mount for a user's own
// (nosuid, nodev) by itself.
func helperOptions(o *Options) string {
	access := "ro"
	if o.Writable {
		access = "rw"
	}
	opts := []string{access, "subtype=mica", fmt.Sprintf("max_read=%d", maxRead), "fsname=" + escapeOption(o.Source)}
	for _, f := range []struct {
		set  bool
		name string
	}{{true, "nosuid"}, {true, "nodev"}, {o.NoExec, "noexec"}, {o.NoAtime, "noatime"},
		{o.AllowOther, "allow_other"}, {o.kernelChecks(), "default_permissions"}} {
		if f.set {
			opts = append(opts, f.name)
		}
	}
	return strings.Join(opts, ",")
}

// escapeOption hides commas from the helper, which splits options at them.
func escapeOption(value string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(value)
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "fusermount"), os.NewFile(uintptr(fds[1]), "fusermount"), nil
}

// receiveFile takes one descriptor out of a unix socket (SCM_RIGHTS).
func receiveFile(socket *os.File, name string) (*os.File, error) {
	data, control := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	return fileOf(control[:n], name)
}

// fileOf gives the one descriptor in a control message of a unix socket.
func fileOf(control []byte, name string) (*os.File, error) {
	msgs, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("no descriptor came: %d messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors came, %v", len(fds), err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), name), nil
}
