package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// until waits for a condition that another process brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s: %s", what)
		}
	}
}

// untilLogged waits for words of the server, which come through a pipe.
func (s *testServer) untilLogged(words string) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("the server says %q", words), func() bool { return strings.Contains(s.stderr.String(), words) })
}

func (s *testServer) waiting() (n int) {
	s.t.Helper()
	s.ask("waiting", &n)
	return n
}

// openGate lets all slow reads through.
func (s *testServer) openGate() {
	s.t.Helper()
	if err := os.WriteFile(s.gate, nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// readSlow starts a program that reads the file "slow" past the page cache, so
// that each reader makes a READ of its own.
func (s *testServer) readSlow() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command("dd", "iflag=direct", "bs=64k", "count=1", "status=none", "if="+s.path("slow"), "of=/dev/null")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cmd.Process.Kill() })
	return cmd
}

// TestSlowReads has more reads wait than there are workers, and uses the mount
// meanwhile.
func TestSlowReads(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	var readers []*exec.Cmd
	for range maxWorkers + 4 {
		readers = append(readers, s.readSlow())
	}
	until(t, "all workers wait", func() bool { return s.waiting() == maxWorkers })
	if _, err := os.Lstat(s.path("etc", "motd")); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(s.path("cached")); len(b) != 3*maxRead+17 || err != nil {
		t.Errorf("read of what is cached: %d bytes, %v", len(b), err)
	}

	// A reader whose READ is in work, and one whose READ still waits for a
	// worker: both must end when interrupted. Which is which cannot be told, so
	// interrupt all but one.
	for i, r := range readers[1:] {
		r.Process.Signal(unix.SIGINT)
		if err := r.Wait(); !interrupted(err) {
			t.Errorf("reader %d: %v, want it ended by SIGINT", i, err)
		}
	}
	s.openGate()
	if err := readers[0].Wait(); err != nil {
		t.Errorf("the reader that was left alone: %v", err)
	}
}

// TestNotReady looks at what is not ready, and uses the mount meanwhile.
func TestNotReady(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	var askers []*exec.Cmd
	asked := [][]string{{"ls", "-f", s.path("lazy")}, {"ls", "-l", s.path("lazy")}, {"stat", s.path("lazy", strings.Repeat("0", 200))}}
	for range maxWorkers + 4 { // as many as could hold up all that read
		asked = append(asked, []string{"stat", s.path("lazy")})
		asked = append(asked, []string{"ls", "-f", s.path("lazy")})
	}
	for _, args := range asked {
		cmd := exec.Command(args[0], args[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		askers = append(askers, cmd)
	}
	until(t, "all wait that may", func() bool { return s.waiting() == maxUnready })
	// One that waits in work or for it ends when it is interrupted, which can be
	// told of none: so all but the last, whose place the others kept.
	last := len(askers) - 1
	for i, cmd := range askers[:last] {
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			t.Errorf("%q: ended well, as the %dth", cmd.Args, i)
		}
	}
	askers = askers[last:]
	if b, err := os.ReadFile(s.path("etc", "motd")); string(b) != "hello\n" || err != nil {
		t.Errorf("meanwhile: %q, %v", b, err)
	}
	s.openGate()
	for _, cmd := range askers {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q: %v", cmd.Args, err)
		}
	}
	if names, err := os.ReadDir(s.path("lazy")); len(names) != 3000 || err != nil {
		t.Errorf("then: %d names, %v", len(names), err)
	}
}

// notReady is a lazyView of which nothing is ready.
type notReady struct{ View }

func (notReady) Hold(overlay.NodeID) (func(), bool) { return nil, false }
func (notReady) Prepare(context.Context, overlay.NodeID) (func(), error) {
	return nil, errors.New("made ready")
}

// TestAsksNothing: what only tells something has nothing made ready.
func TestAsksNothing(t *testing.T) {
	s := &session{lazy: notReady{}}
	for op, want := range map[uint32]bool{opForget: true, opBatchForget: true, opInterrupt: true, opDestroy: true, opLookup: false, opRead: false, opReaddir: false} {
		if _, ready := s.hold(header{opcode: op, node: 7}); ready != want {
			t.Errorf("%s: ready %v, want %v", opName(int(op)), ready, want)
		}
	}
}

func interrupted(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGINT
}

// ended waits for the server's process and gives its error.
func (s *testServer) ended() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(20 * time.Second):
		return errors.New("still there after 20 s")
	}
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	_, err := mountAt(dir)
	return err == nil
}

func TestServerEnds(t *testing.T) {
	for _, tt := range []struct {
		about string
		end   func(s *testServer) error
	}{
		{"umount", func(s *testServer) error { return Unmount(s.dir, false) }},
		{"umount(8)", func(s *testServer) error { return exec.Command("umount", s.dir).Run() }},
		{"SIGTERM", func(s *testServer) error { return s.cmd.Process.Signal(unix.SIGTERM) }},
	} {
		for _, ownServer := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.about, ownServer), func(t *testing.T) {
				runtime := t.TempDir()
				s := startServer(t, serverSpec{AllowOther: true, OwnServer: ownServer, RuntimeDir: runtime})
				if _, err := os.Lstat(s.path("etc", "motd")); err != nil {
					t.Error(err)
				}
				if err := tt.end(s); err != nil {
					t.Fatal(err)
				}
				if err := s.ended(); err != nil {
					t.Errorf("the server ended with %v", err)
				}
				if mounted(t, s.dir) {
					t.Error("still mounted")
				}
				if left, _ := os.ReadDir(runtime); len(left) > 0 {
					t.Errorf("record left: %v", left)
				}
			})
		}
	}
}

// TestBusy has a program stay in the mount while it is unmounted in each way.
func TestBusy(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	user := exec.Command("sleep", "100")
	user.Dir = s.path("etc")
	f, err := os.Open(s.path("etc", "motd"))
	if err != nil {
		t.Fatal(err)
	}
	user.Stdin = f
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	defer user.Process.Kill()

	err = Unmount(s.dir, false)
	var busy *BusyError
	if !errors.As(err, &busy) {
		t.Fatalf("Unmount = %v, want a *BusyError", err)
	}
	for _, want := range []string{
		s.dir + ": busy: ",
		fmt.Sprintf("sleep(%d) cwd %s/etc", user.Process.Pid, s.dir),
		fmt.Sprintf("sleep(%d) %s/etc/motd", user.Process.Pid, s.dir),
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Unmount: %v\nwant %q in it", err, want)
		}
	}
	if !mounted(t, s.dir) {
		t.Fatal("a mount in use has gone")
	}

	// SIGTERM takes it from sight, and serves it until its user ends.
	s.cmd.Process.Signal(unix.SIGTERM)
	until(t, "it vanishes", func() bool { return !mounted(t, s.dir) })
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cwd/motd", user.Process.Pid)); string(b) != "hello\n" {
		t.Errorf("inside the mount that was taken from sight: %q, %v", b, err)
	}
	user.Process.Kill()
	user.Wait()
	if err := s.ended(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// TestServerKilled has a server die at once. The mount it leaves is known to be
// dead, and a new one takes its place.
func TestServerKilled(t *testing.T) {
	runtime := t.TempDir()
	s := startServer(t, serverSpec{AllowOther: true, RuntimeDir: runtime, Source: "debian:12"})
	info := func() Info {
		t.Helper()
		mounts, err := Mounts(runtime)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			if m.Dir == s.dir {
				return m
			}
		}
		t.Fatalf("Mounts does not list %s: %v", s.dir, mounts)
		return Info{}
	}
	if got := info(); got.PID != s.cmd.Process.Pid || got.Dead || got.Source != "debian:12" || got.Since.IsZero() {
		t.Errorf("Mounts of a live one: %+v", got)
	}
	s.cmd.Process.Kill()
	<-s.done
	if got := info(); !got.Dead {
		t.Errorf("Mounts of a dead one: %+v", got)
	}
	if _, err := os.Lstat(s.dir); !isDead(err) {
		t.Errorf("lstat of a dead mount: %v", err)
	}

	again := startServer(t, serverSpec{Dir: s.dir, AllowOther: true, RuntimeDir: runtime})
	if _, err := os.Lstat(again.path("etc", "motd")); err != nil {
		t.Error(err)
	}
	again.untilLogged("note: " + s.dir + ": a mount whose server is gone was taken away")
	if got := info(); got.PID != again.cmd.Process.Pid || got.Dead {
		t.Errorf("Mounts of the new one: %+v", got)
	}
	if left, _ := filepath.Glob(runtime + "/*.json"); len(left) != 1 {
		t.Errorf("records: %v, want one", left)
	}
}
