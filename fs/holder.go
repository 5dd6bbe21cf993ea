package fs

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// IsHolder reports whether this process was started to hold a mount.
func IsHolder() bool { return os.Getenv(holdEnv) != "" }

// RunHolder holds a mount until it is unmounted or no server can be had for
// it, and gives the status to exit with. It is for the main function, before it
// does anything that takes memory.
func RunHolder() int {
	debug.SetMemoryLimit(holderMemory)
	runtime.GOMAXPROCS(1)
	_ = os.WriteFile("/proc/self/comm", []byte(programName), 0)
	h, err := newHolder(os.Getenv(holdEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, programName+": hold:", err)
		return 1
	}
	return h.run()
}

// A holder keeps the descriptors of a mount, and a server for it. It is one
// goroutine that acts; others wait for something to happen and tell it.
type holder struct {
	job  holdJob
	self process
	kept []*os.File
	log  *slog.Logger
	// happened takes what run is to do next.
	happened chan func()
	listen   *net.UnixListener // nil if nobody can ask

	servers  []*server // alive, the oldest first
	restarts restarts
	told     bool // the first server has answered, as whoever started us was told
	alone    bool // the kernel sends no request again
	leaving  bool // was asked to unmount
	over     bool
	status   int
	upgrade  *upgrade // in work; else nil
	wanted   []*upgrade
}

// A server is a process that serves the mount.
type server struct {
	process  *os.Process
	control  *os.File
	started  time.Time
	serving  bool
	draining bool
	resend   bool // once it serves
	hung     bool // died, but for a thread that waits for what the next server does
}

// serves reports whether a server has not died yet.
func (h *holder) serves(s *server) bool { return slices.Contains(h.servers, s) }

func newHolder(job string) (*holder, error) {
	h := &holder{log: slog.New(slog.NewTextHandler(os.Stderr, nil)), happened: make(chan func())}
	if err := json.Unmarshal([]byte(job), &h.job); err != nil || h.job.Kept < keptFiles {
		return nil, fmt.Errorf("%s=%s: %w", holdEnv, job, err)
	}
	var err error
	if h.self, err = thisProcess(); err != nil {
		return nil, err
	}
	h.kept = inherited(firstKept, h.job.Kept)
	return h, nil
}

func (h *holder) run() int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// The terminal that it was started from may go; the mount stays.
	signal.Ignore(syscall.SIGHUP)
	if h.job.PID != 0 {
		h.succeed()
	} else {
		h.start(&heldJob{})
		h.listenAt(h.job.Socket)
	}
	shrink()
	for !h.over {
		select {
		case do := <-h.happened:
			do()
		case <-signals:
			h.leave()
		}
	}
	if h.listen != nil {
		os.Remove(h.job.Socket)
	}
	return h.status
}

// end lets go of the mount. If no server is left, the kernel answers all that
// is asked of it by an error from then on, as far as it is mounted still.
func (h *holder) end(status int) { h.over, h.status = true, status }

// start has a server started. If that fails, it counts as one that died.
func (h *holder) start(job *heldJob) {
	s, err := h.startServer(job)
	if err != nil {
		h.log.Error("start of a server", slog.Any("err", err))
		h.died(&server{started: time.Now()}, nil)
		return
	}
	h.servers = append(h.servers, s)
	h.watch(s)
}

func (h *holder) startServer(job *heldJob) (*server, error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	job.Kept, job.Holder = len(h.kept), h.self
	env, err := withEnv(os.Environ(), heldEnv, job)
	if err != nil {
		return nil, err
	}
	p, err := os.StartProcess("/proc/self/exe", h.job.Server, &os.ProcAttr{
		Dir: "/", Env: env, Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr, theirs}, h.kept...),
	})
	if err != nil {
		ours.Close()
		return nil, err
	}
	return &server{process: p, control: ours, started: time.Now()}, nil
}

// controlPair gives a connection that keeps messages apart. Our end does not
// take a thread to wait at.
func controlPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// watch tells of what a server says, and of its end.
func (h *holder) watch(s *server) {
	go func() {
		for b := make([]byte, 1); ; {
			n, err := s.control.Read(b)
			if n == 0 || err != nil {
				h.deaf(s, deafAfter)
				return
			}
			what := b[0]
			h.happened <- func() { h.heard(s, what) }
		}
	}()
	go func() {
		state, _ := s.process.Wait()
		h.happened <- func() {
			if h.serves(s) {
				h.died(s, state)
			}
		}
	}()
}

// heard takes what a server says.
func (h *holder) heard(s *server, what byte) {
	if what != saysServing && what != saysAlone {
		return // of a later version
	}
	s.serving = true
	h.alone = what == saysAlone
	if s.resend {
		h.tell(s, wantsResend)
	}
	if h.leaving {
		_ = s.process.Signal(syscall.SIGTERM)
	}
	if !h.told {
		h.told = true
		if err := Ready(h.kept[keptLog]); err != nil {
			// Nobody would know of the mount.
			h.leave()
		}
	}
	h.proceed()
	shrink()
}

func (h *holder) tell(s *server, what byte) {
	if _, err := s.control.Write([]byte{what}); err != nil {
		h.log.Warn("a server does not listen", slog.Int("pid", s.process.Pid), slog.Any("err", err))
	}
}

// leave passes the wish on that the mount end.
func (h *holder) leave() {
	h.leaving = true
	for _, s := range h.servers {
		// One that starts may not know what to do yet, and hears of it then.
		if s.serving || !h.told {
			_ = s.process.Signal(syscall.SIGTERM)
		}
	}
}

// died decides what follows the death of a server. state is nil for one that
// could not even be started.
func (h *holder) died(s *server, state *os.ProcessState) {
	if s.control != nil {
		s.control.Close()
	}
	h.servers = slices.DeleteFunc(h.servers, func(other *server) bool { return other == s })
	defer h.proceed()
	switch {
	case !h.told:
		h.end(exitStatus(state))
		return
	case !h.connected():
		h.end(0) // unmounted
		return
	case s.draining && state != nil && state.Success():
		return
	}
	cause := "not started"
	switch {
	case s.hung:
		cause = "killed while it waited for the kernel"
	case state != nil:
		cause = state.String()
	}
	if i := slices.IndexFunc(h.servers, func(other *server) bool { return !other.draining }); i >= 0 {
		h.log.Warn("a server died, there is another", slog.String("cause", cause))
		if s.serving {
			h.resend(h.servers[i])
		}
		return
	}
	if h.alone {
		h.giveUp(cause, "what it was asked would never be answered: taking over needs Linux 6.9")
		return
	}
	wait, ok := h.restarts.after(time.Since(s.started), s.hung || killed(state))
	if !ok {
		h.giveUp(cause, "one after the other dies")
		return
	}
	h.log.Warn("the server died, another takes over", slog.String("cause", cause), slog.Duration("in", wait))
	if wait == 0 {
		h.start(&heldJob{})
		return
	}
	time.AfterFunc(wait, func() { h.happened <- h.startAgain })
}

func (h *holder) startAgain() {
	if !h.connected() {
		h.end(0)
		return
	}
	h.start(&heldJob{})
}

// resend has a server ask for what another one has left unanswered.
func (h *holder) resend(s *server) {
	if s.serving {
		h.tell(s, wantsResend)
	} else {
		s.resend = true
	}
}

func (h *holder) giveUp(cause, why string) {
	h.log.Error("the server died and the mount is given up", slog.String("cause", cause), slog.String("why", why))
	h.end(1)
}

// connected reports whether the mount, or someone who uses it, is still there.
func (h *holder) connected() bool {
	p := []unix.PollFd{{Fd: int32(h.kept[keptDevice].Fd())}}
	n, err := unix.Poll(p, 0)
	return err != nil || n == 0 || p[0].Revents&unix.POLLERR == 0
}

// killed reports whether a process was killed from outside.
func killed(state *os.ProcessState) bool {
	if state == nil {
		return false
	}
	ws := state.Sys().(syscall.WaitStatus)
	return ws.Signaled() && (ws.Signal() == syscall.SIGKILL || ws.Signal() == syscall.SIGTERM)
}

// exitStatus is the status of a process as a shell has it; of one that was not
// started, 1.
func exitStatus(state *os.ProcessState) int {
	if state == nil {
		return 1
	}
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
