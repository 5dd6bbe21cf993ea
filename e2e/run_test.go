package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// run runs a program in a directory and gives what it printed on standard
// output. The test fails if the program does.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// output runs cmd; its error holds what cmd printed on standard error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// until waits for a condition, and fails the test if it does not come true.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !waitFor(cond) {
		t.Fatalf("waited in vain until %s", what)
	}
}

func waitFor(cond func() bool) bool {
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// ended reports that a process is gone, or only waits to be reaped: not when
// its first thread has ended, but when all have, and so let go of /dev/fuse.
func ended(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || len(threads) > 1 {
		return err != nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

// A host is a place to run mica in: with a store, a home and records of mounts
// of its own.
type host struct {
	t   *testing.T
	dir string
	// descriptors is how many each process of mica may have; 0 for no limit.
	descriptors int
}

func newHost(t *testing.T) *host {
	t.Helper()
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	return &host{t: t, dir: newDir(t)}
}

// newDir makes a directory that all users may enter. When the test ends it is
// removed, after what is mounted in it.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, dirName(t.Name())+"-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeDir(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// dirName is of a test's name what mount options and /proc/self/mountinfo have
// no other meaning for, and no more of it than a page of options has room for.
func dirName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '-'
	}, name)
	return name[:min(len(name), 60)]
}

// removeDir unmounts what is mounted below dir and removes it.
func removeDir(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if isRoot() {
			err = unix.Unmount(m, unix.MNT_DETACH)
		} else {
			_, err = output(exec.Command("fusermount3", "-u", "-z", m))
		}
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// mountsBelow gives the mountpoints in a directory, in the order of mounting.
func mountsBelow(dir string) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(b)) {
		// The paths of these tests hold nothing that mountinfo would escape.
		if f := strings.Fields(line); strings.HasPrefix(f[4], dir+"/") {
			mounts = append(mounts, f[4])
		}
	}
	return mounts, nil
}

func (h *host) env() []string {
	return append(os.Environ(), hostEnv(h.dir)...)
}

// hostEnv is what makes a process keep all that it writes below dir.
func hostEnv(dir string) []string {
	return []string{
		"HOME=" + dir,
		"MICA_ROOT=" + filepath.Join(dir, "store"),
		"XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"),
		"XDG_DATA_HOME=" + filepath.Join(dir, "data"),
		"TERM=dumb",
		"MICA_PULL=never", // what is misspelt is looked for nowhere else
	}
}

func (h *host) command(args ...string) *exec.Cmd {
	args = append([]string{filepath.Join(binDir(), "mica")}, args...)
	if h.descriptors > 0 {
		args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, h.descriptors), "sh"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = h.env()
	cmd.Dir = h.dir
	return cmd
}

// mica runs a command that has to succeed and gives its standard output.
func (h *host) mica(args ...string) string {
	h.t.Helper()
	out, err := output(h.command(args...))
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// mount mounts an image at a new directory.
func (h *host) mount(image string, flags ...string) (dir string) {
	h.t.Helper()
	dir, err := h.tryMount(image, flags...)
	if err != nil {
		h.t.Fatal(err)
	}
	return dir
}

func (h *host) tryMount(image string, flags ...string) (dir string, err error) {
	h.t.Helper()
	needFUSE(h.t)
	if dir, err = os.MkdirTemp(h.dir, "mnt-"); err != nil {
		h.t.Fatal(err)
	}
	_, err = output(h.command(append(append([]string{"mount"}, flags...), image, dir)...))
	return dir, err
}

// foreground starts to mount an image at dir in one process, of which done gives
// how it ends; stderr may be read then.
func (h *host) foreground(image string) (cmd *exec.Cmd, dir string, stderr *bytes.Buffer, done <-chan error) {
	h.t.Helper()
	dir = filepath.Join(h.dir, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	cmd = h.command("mount", "--foreground", image, dir)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ends := make(chan error, 1)
	go func() { ends <- cmd.Wait() }()
	return cmd, dir, stderr, ends
}

// umount unmounts, and waits for the server to end.
func (h *host) umount(dir string) {
	h.t.Helper()
	pid := h.server(dir)
	h.mica("umount", dir)
	until(h.t, "the server ends", func() bool { return ended(pid) })
}

// server gives the process that serves a mount.
func (h *host) server(dir string) (pid int) {
	h.t.Helper()
	return h.processes(dir).Server
}

// processes gives all that belong to a mount.
func (h *host) processes(dir string) processes {
	h.t.Helper()
	p, err := processesIn(h.mica("mounts", "--format", "json"), dir)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// processes are those of a mount, by number.
type processes struct {
	Server int `json:"pid"`
	Holder int `json:"holder"` // 0 if there is none
}

// kill kills them, as kill -9 does, and waits until they are gone. What starts
// the server again goes first.
func (p processes) kill() error {
	for _, pid := range []int{p.Holder, p.Server} {
		if pid == 0 {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return err
		}
		if !waitFor(func() bool { return ended(pid) }) {
			return fmt.Errorf("process %d outlives its kill", pid)
		}
	}
	return nil
}

// processesIn looks for a mount in what mica mounts --format json printed.
func processesIn(out, dir string) (processes, error) {
	var mounts []struct {
		Dir string `json:"dir"`
		processes
	}
	if err := json.Unmarshal([]byte(out), &mounts); err != nil {
		return processes{}, fmt.Errorf("mounts --format json: %w in %s", err, out)
	}
	for _, m := range mounts {
		if m.Dir == dir && m.Server > 0 {
			return m.processes, nil
		}
	}
	return processes{}, fmt.Errorf("mounts --format json: no %s with a pid in %s", dir, out)
}
