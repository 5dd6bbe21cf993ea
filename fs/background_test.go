package fs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// background starts a server the way `mica mount` does.
func background(t *testing.T, spec serverSpec) (cmd *exec.Cmd, code int) {
	t.Helper()
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), serverEnv+"="+string(b), quickRace)
	cmd.Stderr = &lockedBuffer{}
	cmd.Dir = t.TempDir()
	code, err = Background(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, code
}

func TestBackground(t *testing.T) {
	needFUSE(t)
	runtime, dir := t.TempDir(), t.TempDir()
	_, code := background(t, serverSpec{Dir: dir, AllowOther: true, RuntimeDir: runtime})
	if code != 0 {
		t.Fatalf("Background = %d", code)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if b, err := os.ReadFile(dir + "/etc/motd"); string(b) != "hello\n" {
		t.Errorf("at once after Background: %q, %v", b, err)
	}
	mounts, err := Mounts(runtime)
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, m := range mounts {
		if m.Dir == dir {
			pid = m.PID
		}
	}
	if sid, err := unix.Getsid(pid); sid != pid {
		t.Errorf("session of the server %d: %d, %v", pid, sid, err)
	}
	for _, link := range []struct{ name, want string }{{"cwd", "/"}, {"fd/0", os.DevNull}, {"fd/1", os.DevNull}, {"fd/2", os.DevNull}} {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link.name)); got != link.want {
			t.Errorf("%s of the server = %q, %v; want %q", link.name, got, err, link.want)
		}
	}
	if err := Unmount(dir, false); err != nil {
		t.Error(err)
	}
}

func TestBackgroundFails(t *testing.T) {
	needFUSE(t)
	cmd, code := background(t, serverSpec{Dir: "/nonexistent/dir"})
	if code != 1 {
		t.Errorf("Background = %d, want the server's own code, 1", code)
	}
	if words := cmd.Stderr.(*lockedBuffer).String(); !strings.Contains(words, "/nonexistent/dir: no such directory") {
		t.Errorf("the server said %q", words)
	}
}
