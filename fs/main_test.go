package fs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// The tests touch mounts that another process serves, which is this program
// started again: a process that touches a mount of its own can wait for itself.

// serverEnv holds a serverSpec as JSON; a process that has it is a server.
const serverEnv = "MICA_FS_TEST_SERVER"

type serverSpec struct {
	Dir string
	// As in Options.
	Source, RuntimeDir              string
	AllowOther, OwnServer, Nonempty bool
	// Hold has a holder started for the mount.
	Hold bool
	// Gate is a file that lets slow reads through when it is there.
	Gate string

	as *syscall.Credential // the server's user; nil for the test's own
}

// self is the test's program, by a name under which other users may start it
// though it lies in a directory that they may not enter.
const self = "/proc/self/exe"

// quickRace takes the second away that a program under the race detector waits
// before it ends.
const quickRace = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if IsHolder() {
		os.Exit(RunHolder())
	}
	held, err := Inherit()
	if spec := os.Getenv(serverEnv); spec != "" && err == nil {
		err = runSpec(spec, held)
		if err == nil {
			os.Exit(0)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// runSpec serves, or has a holder have others do so.
func runSpec(specJSON string, held *Held) error {
	var spec serverSpec
	if err := json.Unmarshal([]byte(specJSON), &spec); err != nil {
		return err
	}
	o := Options{
		Source: spec.Source, RuntimeDir: spec.RuntimeDir,
		AllowOther: spec.AllowOther, OwnServer: spec.OwnServer, Nonempty: spec.Nonempty,
		Log:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Note: func(msg string) { fmt.Fprintln(os.Stderr, "note:", msg) },
	}
	if spec.Hold && held == nil {
		// The servers find the spec in their environment, as this process did.
		code, err := Hold(spec.Dir, o, Holding{
			Server: []string{"mica", "serve"}, Files: []*os.File{os.Stdin, os.Stdout}, Log: os.Stderr, Stderr: os.Stderr,
		})
		if code != 0 {
			os.Exit(code)
		}
		return err
	}
	return serve(spec, o, held)
}

// A hello is the first line of each server.
type hello struct{ PID int }

// serve mounts, or takes over a mount, and obeys commands, a line each, on
// standard input; each is answered by a line of JSON on standard output.
func serve(spec serverSpec, o Options, held *Held) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	view := smallView()
	go view.openWith(spec.Gate)
	var s *Server
	var err error
	in, out := os.Stdin, os.Stdout
	if held != nil {
		in, out = held.Files()[0], held.Files()[1]
		s, err = held.Attach(view, o)
		err = errors.Join(err, s.Ready())
	} else {
		s, err = Mount(spec.Dir, view, o)
	}
	if err != nil {
		return err
	}
	reply := json.NewEncoder(out)
	if err := reply.Encode(hello{os.Getpid()}); err != nil {
		return err
	}
	if err := Ready(nil); err != nil {
		return err
	}
	go func() {
		for in := bufio.NewScanner(in); in.Scan(); {
			switch in.Text() {
			case "requests":
				counts := make(map[string]uint64)
				for _, r := range s.Stats().Requests {
					counts[r.Kind] = r.Count
				}
				reply.Encode(counts)
			case "pushed":
				reply.Encode(s.Stats().Pushed)
			case "pushes":
				reply.Encode(s.session.push.may.Load())
			case "push blindly":
				s.session.push.reading = func(overlay.NodeID) bool { return false }
				reply.Encode(true)
			case "waiting":
				reply.Encode(view.slow.Load())
			case "crash":
				os.Exit(3)
			}
		}
	}()
	return s.Serve(ctx)
}

// A testServer is a server in a process of its own.
type testServer struct {
	t      *testing.T
	dir    string
	pid    int // of the server that serves now, as far as nextServer was called
	gate   string
	cmd    *exec.Cmd // the server, or what has started a holder
	in     io.WriteCloser
	out    *json.Decoder
	stderr *lockedBuffer
	done   chan error // of cmd
}

// tryServer starts a server and waits until its mount answers, or it ends.
func tryServer(t *testing.T, spec serverSpec) (*testServer, error) {
	t.Helper()
	gateDir, err := os.MkdirTemp("", "mica-gate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(gateDir) })
	spec.Gate = filepath.Join(gateDir, "open")
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{t: t, dir: spec.Dir, gate: spec.Gate, stderr: &lockedBuffer{}, done: make(chan error, 1)}
	s.cmd = exec.Command(self)
	s.cmd.Env = append(os.Environ(), serverEnv+"="+string(b), quickRace)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: spec.as}
	s.cmd.Stderr = s.stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = json.NewDecoder(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = s.nextServer()
	go func() { s.done <- s.cmd.Wait() }()
	if err != nil {
		<-s.done
		return nil, errors.New(strings.TrimSpace(s.stderr.String()))
	}
	t.Cleanup(s.stop)
	return s, nil
}

// nextServer waits until a server says hello.
func (s *testServer) nextServer() error {
	var h hello
	err := s.out.Decode(&h)
	s.pid = h.PID
	return err
}

// startServer serves the small view, at a fresh directory if spec names none.
func startServer(t *testing.T, spec serverSpec) *testServer {
	t.Helper()
	needFUSE(t)
	if spec.Dir == "" {
		spec.Dir = t.TempDir()
	}
	s, err := tryServer(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stop unmounts whatever the test has left.
func (s *testServer) stop() {
	unix.Unmount(s.dir, unix.MNT_FORCE|unix.MNT_DETACH)
	s.cmd.Process.Kill()
	if strings.Contains(s.stderr.String(), "DATA RACE") {
		s.t.Error("the server has a data race")
	}
	if s.t.Failed() {
		s.t.Logf("server of %s said:\n%s", s.dir, s.stderr.String())
	}
}

// ask sends a command and decodes the answer into v.
func (s *testServer) ask(command string, v any) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, command); err != nil {
		s.t.Fatal(err)
	}
	if err := s.out.Decode(v); err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
}

func (s *testServer) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// need skips a test that cannot run here, or fails it where nothing may be skipped.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("MICA_TEST_STRICT") == "1" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

func needFUSE(t *testing.T) {
	t.Helper()
	need(t, os.Geteuid() == 0, "root")
	dev, err := openDevice(fuseDevice)
	if err == nil {
		dev.Close()
	}
	need(t, err == nil, fmt.Sprintf("/dev/fuse (%v)", err))
}
