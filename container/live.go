package container

import (
	"errors"
	"fmt"
	goio "io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/console"
	runc "github.com/containerd/go-runc"
)

// live starts the container, as often as its restart policy wants, and tidies
// up after it. The error is what could not even be told to a client.
func (s *supervisor) live() error {
	for wait := firstDelay; ; {
		began := time.Now()
		code, err := s.once()
		if err != nil {
			return s.couldNot(err)
		}
		if err := s.c.Reload(); err != nil {
			return err
		}
		if !s.again(code) {
			return s.end(code)
		}
		if err := deleteRuntime(background, s.c.Config.Host.Runtime, s.c.Config.ID); err != nil {
			fmt.Fprintln(os.Stderr, "mica: supervise:", err)
		}
		if time.Since(began) > longEnough {
			wait = firstDelay
		}
		err = s.c.change(func(st *State) {
			st.Status, st.ExitCode, st.FinishedAt, st.Init = Restarting, code, time.Now(), Proc{}
			st.Restarts++
		})
		if err != nil {
			return err
		}
		if s.stoppedWithin(wait) {
			return s.end(code)
		}
		wait = min(2*wait, lastDelay)
	}
}

// How long one that ends at once is left before it is started again, as docker has it.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = time.Minute
	longEnough = 10 * time.Second // to have run for the delay to begin anew
)

// again reports whether the restart policy wants it started again.
func (s *supervisor) again(code int) bool {
	p := s.c.Config.Host.RestartPolicy
	if s.c.State.Stopped {
		return false
	}
	switch p.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return code != 0 && (p.MaximumRetryCount == 0 || s.c.State.Restarts < p.MaximumRetryCount)
	}
	return false
}

// stoppedWithin waits, and reports whether the user has stopped it meanwhile.
func (s *supervisor) stoppedWithin(wait time.Duration) bool {
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(min(50*time.Millisecond, time.Until(end))) {
		if s.c.Reload() != nil || s.c.State.Stopped {
			return true
		}
	}
	return false
}

// couldNot tells that the container could not be started.
func (s *supervisor) couldNot(err error) error {
	f := failure{Text: err.Error(), Status: 125}
	var rt *RuntimeError
	if errors.As(err, &rt) {
		f.Status, f.Hint = rt.Status, rt.hint
	}
	err = s.c.change(func(st *State) {
		st.Status, st.ExitCode, st.Error, st.FinishedAt, st.Init = Exited, f.Status, f.Text, time.Now(), Proc{}
		if st.StartedAt.IsZero() {
			st.Status = Created
		}
	})
	err = errors.Join(err, s.c.tidy(background))
	if s.c.Config.Host.AutoRemove {
		err = errors.Join(err, s.c.remove())
	}
	s.hub.tellFailed(f)
	return err
}

// end is what happens after the last exit. Of one that is to be removed it is
// told when it is gone, of others when they can be asked for it.
func (s *supervisor) end(code int) error {
	err := s.c.change(func(st *State) {
		st.Status, st.ExitCode, st.FinishedAt, st.Init = Exited, code, time.Now(), Proc{}
	})
	s.hub.log.close()
	remove := s.c.Config.Host.AutoRemove
	if !remove {
		s.hub.tellExit(code)
	}
	err = errors.Join(err, s.c.tidy(background))
	if remove {
		err = errors.Join(err, s.c.RemoveVolumes(), s.c.remove())
		s.hub.tellExit(code)
	}
	return err
}

// once runs it once and gives its exit status.
func (s *supervisor) once() (code int, err error) {
	io, err := s.streams()
	if err != nil {
		return 0, err
	}
	defer io.close()
	if err := s.c.change(func(st *State) { st.Status = Starting }); err != nil {
		return 0, err
	}
	pid, err := s.runtimeRun(io)
	if err != nil {
		return 0, err
	}
	if err := io.started(s.hub); err != nil {
		return 0, err
	}
	// Should it have ended already it is a zombie, which the state then is of.
	init := Proc{Pid: pid, Boot: bootID()}
	init.Start, _ = startOf(pid)
	err = s.c.change(func(st *State) {
		st.Status, st.Error, st.OOMKilled, st.ExitCode = Running, "", false, 0
		st.StartedAt, st.FinishedAt, st.Init = time.Now(), time.Time{}, init
	})
	if err != nil {
		return 0, err
	}
	s.hub.tellStarted()
	code, err = waitFor(pid)
	if err != nil {
		return 0, err
	}
	io.drain()
	if outOfMemory(s.c.Config.Host.CgroupParent, s.c.Config.ID) {
		_ = s.c.change(func(st *State) { st.OOMKilled = true }) // the exit status tells as well
	}
	return code, nil
}

// runtimeRun has the runtime make and start it, and gives its first process.
func (s *supervisor) runtimeRun(io *streams) (pid int, err error) {
	log := s.c.path("bundle", "runtime.log")
	if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	r, err := newRuntime(s.c.Config.Host.Runtime, log)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(r.Root), 0o711); err != nil {
		return 0, err
	}
	pidFile := s.c.path("bundle", "pid")
	o := &runc.CreateOpts{IO: io, PidFile: pidFile, Detach: true}
	if io.socket != nil {
		o.ConsoleSocket = io.socket
	}
	_, err = r.Run(background, s.c.Config.ID, s.c.path("bundle"), o)
	if err != nil {
		return 0, runtimeError(err, log, s.c.Config.Process.Args())
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// streams are the standard streams of a container: pipes, or a terminal.
type streams struct {
	theirs [3]*os.File
	ours   [3]*os.File // nil: none
	socket *runc.Socket
	master console.Console
	done   sync.WaitGroup // readers of output
}

var _ runc.IO = (*streams)(nil)

func (s *supervisor) streams() (io *streams, err error) {
	io = &streams{}
	defer func() {
		if err != nil {
			io.close()
		}
	}()
	if s.c.Config.Process.Tty {
		path := consolePath(s.c.Config.ID)
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return io, err
		}
		_ = os.Remove(path) // of one that was killed
		io.socket, err = runc.NewConsoleSocket(path)
		return io, err
	}
	if s.c.Config.Process.OpenStdin {
		if io.theirs[0], io.ours[0], err = os.Pipe(); err != nil {
			return io, err
		}
	} else if io.theirs[0], err = os.Open(os.DevNull); err != nil {
		return io, err
	}
	for i := 1; i < 3; i++ {
		if io.ours[i], io.theirs[i], err = os.Pipe(); err != nil {
			return io, err
		}
	}
	return io, nil
}

// consolePath is where the runtime hands a container's terminal over: an address
// has room for 108 bytes, which the store's directory may be longer than.
func consolePath(id string) string {
	return filepath.Join(filepath.Dir(runtimeRoot()), "console-"+id[:12])
}

// started has output read from now on. The container has its ends of the pipes.
func (io *streams) started(h *hub) error {
	if io.socket != nil {
		var err error
		if io.master, err = io.socket.ReceiveMaster(); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		master := io.master
		h.connect(master, func(rows, cols uint16) {
			// One that has ended has no size.
			_ = master.Resize(console.WinSize{Height: rows, Width: cols})
		})
		io.done.Go(func() { h.output(master, frameStdout) })
		return nil
	}
	for i := range io.theirs {
		io.theirs[i].Close()
		io.theirs[i] = nil
	}
	if in := io.ours[0]; in != nil {
		h.connect(in, nil)
	} else {
		h.connect(nil, nil)
	}
	io.done.Go(func() { h.output(io.ours[1], frameStdout) })
	io.done.Go(func() { h.output(io.ours[2], frameStderr) })
	return nil
}

// drainTime is how long output is waited for when the first process has ended:
// others of the host may have the pipes, with --pid host.
const drainTime = 2 * time.Second

// drain waits until all output has been read.
func (io *streams) drain() {
	late := time.AfterFunc(drainTime, func() {
		for _, f := range io.ours[1:] {
			if f != nil {
				_ = f.SetReadDeadline(time.Now())
			}
		}
		if io.master != nil {
			io.master.Close()
		}
	})
	io.done.Wait()
	late.Stop()
}

func (io *streams) close() {
	for _, f := range append(io.theirs[:], io.ours[:]...) {
		if f != nil {
			f.Close()
		}
	}
	if io.master != nil {
		io.master.Close()
	}
	if io.socket != nil {
		io.socket.Close()
	}
}

// Set gives the runtime the container's ends.
func (io *streams) Set(cmd *exec.Cmd) {
	if io.socket == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = io.theirs[0], io.theirs[1], io.theirs[2]
	}
}

// Close and the others are of runc.IO; go-runc uses none of them.
func (io *streams) Close() error            { return nil }
func (io *streams) Stdin() goio.WriteCloser { return nil }
func (io *streams) Stdout() goio.ReadCloser { return nil }
func (io *streams) Stderr() goio.ReadCloser { return nil }
