package fs

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is an ordinary user.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

func needUserFUSE(t *testing.T) {
	t.Helper()
	needFUSE(t)
	st, err := os.Stat(fuseDevice)
	need(t, err == nil && st.Mode().Perm()&6 == 6, "/dev/fuse for all users: chmod 666 /dev/fuse")
	_, err = helper()
	need(t, err == nil, "fusermount3: apt install fuse3")
}

// nobodysDir is an empty directory that belongs to nobody.
func nobodysDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mica-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := os.Chown(dir, int(nobody.Uid), int(nobody.Gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asNobody runs a program as nobody and gives what it printed.
func asNobody(t *testing.T, stdin io.Reader, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestUserMount is UX.md 1.5: a user's own mount shows the true owners, and
// all of it is the user's to read.
func TestUserMount(t *testing.T) {
	needUserFUSE(t)
	dir := nobodysDir(t)
	s := startServer(t, serverSpec{Dir: dir, Source: "a,b\\c", AllowOther: true, as: nobody})
	if out, err := asNobody(t, nil, "stat", "-c", "%u:%g %a", dir+"/etc/empty"); out != "1234:5678 600" || err != nil {
		t.Errorf("stat: %q, %v", out, err)
	}
	if out, err := asNobody(t, nil, "cat", dir+"/etc/empty", dir+"/etc/motd"); out != "hello" || err != nil {
		t.Errorf("cat of a file of another's, mode 0600: %q, %v", out, err)
	}
	if out, err := asNobody(t, nil, "test", "-r", dir+"/etc/empty"); err != nil {
		t.Errorf("access: %q, %v", out, err)
	}
	if _, err := os.Lstat(dir + "/etc"); !errors.Is(err, unix.EACCES) {
		t.Errorf("another user in a private mount: %v, want EACCES", err)
	}
	if !allowOtherInConf("/etc/fuse.conf") {
		s.untilLogged("note: allow_other left out: user_allow_other is not set in /etc/fuse.conf; only you can enter the mount")
	}
	m, err := mountAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Source != "a,b\\c" || m.FSType != fsType || strings.Contains(m.VFSOptions, "default_permissions") {
		t.Errorf("mounted as %+v", m)
	}
	for _, opt := range []string{"ro", "nosuid", "nodev"} {
		if !strings.Contains(","+m.Options+",", ","+opt+",") {
			t.Errorf("options %s, want %s in them", m.Options, opt)
		}
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	if err := s.ended(); err != nil || mounted(t, dir) {
		t.Errorf("after SIGTERM: %v, mounted: %v", err, mounted(t, dir))
	}
}

// TestUserMayNotMount has fusermount3 refuse, whose words are the error.
func TestUserMayNotMount(t *testing.T) {
	needUserFUSE(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := tryServer(t, serverSpec{Dir: dir, as: nobody})
	if want := "server: user has no write access to mountpoint " + dir; err == nil || err.Error() != want {
		t.Errorf("mount on root's directory: %v, want %s", err, want)
	}
}

// TestUserBusy has a user unmount by fusermount3 what is in use.
func TestUserBusy(t *testing.T) {
	needUserFUSE(t)
	dir := nobodysDir(t)
	s := startServer(t, serverSpec{Dir: dir, as: nobody})
	user := exec.Command("sh", "-c", "cd "+dir+"/etc && echo && exec sleep 100")
	user.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	out, err := user.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	defer user.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	until(t, "it vanishes", func() bool { return !mounted(t, dir) })
	user.Process.Kill()
	user.Wait()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	s.untilLogged(": busy: s") // sh, or the sleep that it becomes
}

// TestNoHelper is the error where fusermount3 is missing, or may not mount.
func TestNoHelper(t *testing.T) {
	t.Setenv("PATH", "")
	path, err := helper()
	var missing *MountError
	switch {
	case err == nil:
		if !filepath.IsAbs(path) {
			t.Errorf("helper without PATH = %q, want an absolute path", path)
		}
	case !errors.As(err, &missing) || missing.Code() != "no-fusermount":
		t.Errorf("helper = %v", err)
	}
	refused := helperRefused(os.Args[0], "words", errors.New("exit status 1"))
	if !errors.As(refused, &missing) || missing.Code() != "no-fusermount" || !strings.Contains(missing.Hint(), "chmod u+s") {
		t.Errorf("a helper that is not setuid: %v (%+v)", refused, missing)
	}
}
