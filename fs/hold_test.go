package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// startHeld serves the small view as `mica mount` does, with a holder. It is
// recorded in runtime.
func startHeld(t *testing.T) (s *testServer, runtime string) {
	t.Helper()
	needFUSE(t)
	dir := t.TempDir()
	runtime = t.TempDir()
	s, err := tryServer(t, serverSpec{Dir: dir, AllowOther: true, RuntimeDir: runtime, Hold: true})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the starter ends", func() bool { return gone(s.cmd.Process.Pid) })
	return s, runtime
}

// info is what Mounts tells of the mount.
func (s *testServer) info(runtime string) Info {
	s.t.Helper()
	mounts, err := Mounts(runtime)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range mounts {
		if m.Dir == s.dir {
			return m
		}
	}
	s.t.Fatalf("Mounts does not list %s: %v", s.dir, mounts)
	return Info{}
}

func (s *testServer) holder(runtime string) int {
	s.t.Helper()
	m := s.info(runtime)
	if m.Holder == 0 {
		s.t.Fatalf("Mounts = %+v, want one with a holder", m)
	}
	return m.Holder
}

// gone reports whether a process has ended and let go of what it had open.
func gone(pid int) bool {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return err != nil || len(fds) == 0
}

// kill kills the server and waits for the next one.
func (s *testServer) kill() {
	s.t.Helper()
	if err := unix.Kill(s.pid, unix.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	if err := s.nextServer(); err != nil {
		s.t.Fatalf("no server after the kill: %v", err)
	}
}

// TestTakeOver kills servers while a read waits: to the reader, to an open
// directory and to an open file nothing happens.
func TestTakeOver(t *testing.T) {
	s, runtime := startHeld(t)
	root, err := os.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	motd, err := os.Open(s.path("etc", "motd"))
	if err != nil {
		t.Fatal(err)
	}
	defer motd.Close()
	since := s.info(runtime).Since

	reader := s.readSlow()
	for range 3 {
		until(t, "the read waits", func() bool { return s.waiting() == 1 })
		s.kill()
	}
	if _, err := root.Readdirnames(-1); err != nil {
		t.Errorf("directory opened before: %v", err)
	}
	b := make([]byte, 100)
	if n, _ := motd.Read(b); string(b[:n]) != "hello\n" {
		t.Errorf("file opened before reads %q", b[:n])
	}
	s.openGate()
	if err := reader.Wait(); err != nil {
		t.Errorf("the reader of four servers: %v", err)
	}
	if got := s.info(runtime); got.PID != s.pid || got.Dead || got.Restarting || got.Unheld || !got.Since.Equal(since) {
		t.Errorf("Mounts = %+v, want it served by %d since %v", got, s.pid, since)
	}
}

// TestKilledIdle kills servers that have not been asked anything, and asks at
// the same moment: the kernel may give the request to the one that is dying.
func TestKilledIdle(t *testing.T) {
	s, _ := startHeld(t)
	for range 20 {
		if err := unix.Kill(s.pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(s.dir, &st); err != nil {
			t.Fatalf("statfs at once after a kill: %v", err)
		}
		if err := s.nextServer(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHeldEnds unmounts in each way. Holder and server end and leave nothing.
func TestHeldEnds(t *testing.T) {
	for _, tt := range []struct {
		about string
		end   func(s *testServer, holder int) error
	}{
		{"umount", func(s *testServer, _ int) error { return Unmount(s.dir, false) }},
		{"umount(8)", func(s *testServer, _ int) error { return exec.Command("umount", s.dir).Run() }},
		{"SIGTERM to the server", func(s *testServer, _ int) error { return unix.Kill(s.pid, unix.SIGTERM) }},
		{"SIGTERM to the holder", func(s *testServer, holder int) error { return unix.Kill(holder, unix.SIGTERM) }},
		{"SIGTERM to the holder after a kill", func(s *testServer, holder int) error {
			return errors.Join(unix.Kill(s.pid, unix.SIGKILL), unix.Kill(holder, unix.SIGTERM))
		}},
		{"umount after a kill", func(s *testServer, _ int) error {
			return errors.Join(unix.Kill(s.pid, unix.SIGKILL), Unmount(s.dir, false))
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s, runtime := startHeld(t)
			holder := s.holder(runtime)
			if err := tt.end(s, holder); err != nil {
				t.Fatal(err)
			}
			until(t, "holder and server end", func() bool { return gone(holder) && gone(s.pid) })
			if mounted(t, s.dir) {
				t.Error("still mounted")
			}
			removeStale(runtime) // which a killed server has left
			if left, _ := os.ReadDir(runtime); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestHolderKilled(t *testing.T) {
	s, runtime := startHeld(t)
	holder := s.holder(runtime)
	unix.Kill(holder, unix.SIGKILL)
	until(t, "the holder ends", func() bool { return gone(holder) })
	s.untilLogged("the holder is gone")
	if b, err := os.ReadFile(s.path("etc", "motd")); string(b) != "hello\n" {
		t.Errorf("without a holder: %q, %v", b, err)
	}
	if got := s.info(runtime); !got.Unheld || got.Dead || got.PID != s.pid {
		t.Errorf("Mounts without a holder: %+v", got)
	}
	if err := Upgrade(s.info(runtime), nil); err == nil || !strings.Contains(err.Error(), "no holder") {
		t.Errorf("Upgrade without a holder: %v", err)
	}
	unix.Kill(s.pid, unix.SIGKILL)
	until(t, "the server ends", func() bool { return gone(s.pid) })
	if _, err := os.Lstat(s.path("etc", "null")); !isDead(err) {
		t.Errorf("without holder and server: %v", err)
	}
	if got := s.info(runtime); !got.Dead {
		t.Errorf("Mounts without holder and server: %+v", got)
	}
}

// TestCrashLoop has all servers crash. In the end the mount fails rather than
// hangs.
func TestCrashLoop(t *testing.T) {
	s, runtime := startHeld(t)
	holder := s.holder(runtime)
	reader := s.readSlow() // which waits for each of them
	for range mostCrashes {
		fmt.Fprintln(s.in, "crash")
		if err := s.nextServer(); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(s.in, "crash")
	if err := reader.Wait(); err == nil {
		t.Error("the reader found an end")
	}
	until(t, "the holder ends", func() bool { return gone(holder) })
	if _, err := os.Lstat(s.path("etc", "null")); !isDead(err) {
		t.Errorf("after the holder gave up: %v", err)
	}
	s.untilLogged("the mount is given up")
}

// program opens this test's program, as which a holder goes on.
func program(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestUpgrade has new programs take over while a read waits.
func TestUpgrade(t *testing.T) {
	s, runtime := startHeld(t)
	holder := s.holder(runtime)
	reader := s.readSlow()
	until(t, "the read waits", func() bool { return s.waiting() == 1 })
	old := s.pid
	upgraded := make(chan error, 1)
	m := s.info(runtime)
	exe := program(t)
	go func() { upgraded <- Upgrade(m, exe) }()
	if err := s.nextServer(); err != nil {
		t.Fatal(err)
	}
	if gone(old) {
		t.Error("the old server has left its reader alone")
	}
	if b, err := os.ReadFile(s.path("one")); string(b) != "two names" {
		t.Errorf("while the old server drains: %q, %v", b, err)
	}
	s.openGate()
	if err := <-upgraded; err != nil {
		t.Errorf("Upgrade: %v", err)
	}
	if err := reader.Wait(); err != nil {
		t.Errorf("the reader: %v", err)
	}
	if !gone(old) {
		t.Error("the old server is still there")
	}
	if got := s.holder(runtime); got != holder {
		t.Errorf("the holder is process %d, was %d", got, holder)
	}
	// The new holder holds as well as the old, and can be replaced as well.
	s.kill()
	if err := Upgrade(s.info(runtime), program(t)); err != nil {
		t.Fatalf("second Upgrade: %v", err)
	}
	if err := s.nextServer(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.path("two")); string(b) != "two names" {
		t.Errorf("at the end: %q, %v", b, err)
	}
}

// TestUpgradeFails offers what is no program. The mount stays as it is.
func TestUpgradeFails(t *testing.T) {
	s, runtime := startHeld(t)
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Upgrade(s.info(runtime), f); err == nil || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("Upgrade to a text: %v", err)
	}
	s.kill()
	if b, err := os.ReadFile(s.path("two")); string(b) != "two names" {
		t.Errorf("at the end: %q, %v", b, err)
	}
}
