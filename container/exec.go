package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/console"
	runc "github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// An Exec is another command in a container that runs.
type Exec struct {
	Args       []string
	Env        []string // over that of the container
	User       string   // "" is that of the container
	WorkingDir string   // "" is that of the container
	Tty        bool
	Privileged bool
	Detach     bool // do not wait for it
	// Its streams, used as they are; nil is nowhere. With a terminal that is handed
	// to Terminal, which passes on what comes and goes until it ends.
	Stdin, Stdout, Stderr *os.File
	Terminal              func(console.Console)
	Rows, Columns         uint16
}

// Exec runs a command and gives its exit status. It is for a process that does
// nothing else: what the runtime leaves becomes a child of it.
func (c *Container) Exec(ctx context.Context, e *Exec) (code int, err error) {
	if !c.running() {
		return 0, &RuntimeError{Text: (&NotRunningError{}).Error(), Status: 125, hint: "mica start " + c.Config.Name}
	}
	if c.Paused() {
		return 0, &RuntimeError{Text: "is paused", Status: 125, hint: "mica unpause " + c.Config.Name}
	}
	p, err := c.execProcess(e)
	if err != nil {
		return 0, err
	}
	if err := c.checkCommand(p); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, os.NewSyscallError("prctl", err)
	}
	// Of a name that no other command has, as several may be at it.
	work, err := os.MkdirTemp(filepath.Dir(runtimeRoot()), "exec-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	return c.exec(ctx, e, p, work)
}

func (c *Container) exec(ctx context.Context, e *Exec, p *specs.Process, work string) (code int, err error) {
	log := filepath.Join(work, "log")
	r, err := newRuntime(c.Config.Host.Runtime, log)
	if err != nil {
		return 0, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	o := &runc.ExecOpts{IO: &execIO{e: e, null: null}, Detach: true, PidFile: filepath.Join(work, "pid")}
	var socket *runc.Socket
	if e.Tty {
		if socket, err = runc.NewConsoleSocket(filepath.Join(work, "console")); err != nil {
			return 0, err
		}
		defer socket.Close()
		o.ConsoleSocket = socket
	}
	// Where go-runc puts a file: there may be no directory of that name.
	if err := os.Setenv("XDG_RUNTIME_DIR", work); err != nil {
		return 0, err
	}
	if err := r.Exec(ctx, c.Config.ID, *p, o); err != nil {
		return 0, runtimeError(err, log, e.Args)
	}
	var passed chan struct{}
	if e.Tty {
		master, err := socket.ReceiveMaster()
		if err != nil {
			return 0, fmt.Errorf("terminal: %w", err)
		}
		defer master.Close()
		passed = make(chan struct{})
		go func() {
			defer close(passed)
			if e.Terminal != nil {
				e.Terminal(master)
			}
		}()
	}
	if e.Detach {
		return 0, nil
	}
	b, err := os.ReadFile(o.PidFile)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, err
	}
	code, err = waitFor(pid)
	if passed != nil {
		<-passed
	}
	return code, err
}

// waitFor waits for a child and gives its status as a shell has it.
func waitFor(pid int) (int, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("wait4", err)
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return ws.ExitStatus(), nil
	}
}

// execProcess is what the runtime is told of it.
func (c *Container) execProcess(e *Exec) (*specs.Process, error) {
	p := c.Config.Process
	p.Entrypoint, p.Cmd, p.Tty = nil, e.Args, e.Tty
	p.Env = mergeEnv(p.Env, e.Env)
	if e.User != "" {
		p.User = e.User
	}
	if e.WorkingDir != "" {
		p.WorkingDir = e.WorkingDir
	}
	own := *c
	own.Config.Host.Init = false
	own.Config.Host.Privileged = c.Config.Host.Privileged || e.Privileged
	return own.process(&p, e.Rows, e.Columns)
}

// checkCommand says as run does that a command is not there, or none: the
// runtime would tell of it in words of its own, on the command's standard error.
func (c *Container) checkCommand(p *specs.Process) error {
	name := p.Args[0]
	paths := []string{path.Join(p.Cwd, name)}
	if !strings.Contains(name, "/") {
		paths = nil
		for _, kv := range slices.Backward(p.Env) {
			if list, ok := strings.CutPrefix(kv, "PATH="); ok {
				for _, dir := range strings.Split(list, ":") {
					paths = append(paths, path.Join(p.Cwd, dir, name))
					if strings.HasPrefix(dir, "/") {
						paths[len(paths)-1] = path.Join(dir, name)
					}
				}
				break
			}
		}
	} else if path.IsAbs(name) {
		paths[0] = name
	}
	found := &RuntimeError{Status: 127, Text: name + ": not found in the PATH of the container"}
	if strings.Contains(name, "/") {
		found.Text = name + ": no such file or directory in the container"
	}
	for _, one := range paths {
		f, err := openInRoot(c.execRoot(), one, unix.O_PATH)
		if err != nil {
			continue
		}
		st, err := f.Stat()
		f.Close()
		switch {
		case err != nil:
		case st.IsDir():
			found = &RuntimeError{Status: 126, Text: name + ": is a directory"}
		case st.Mode()&0o111 == 0:
			found = &RuntimeError{Status: 126, Text: name + ": permission denied"}
		default:
			return nil
		}
	}
	return found
}

// execRoot is the root as its processes see it, with all that is mounted.
func (c *Container) execRoot() string { return fmt.Sprintf("/proc/%d/root", c.State.Init.Pid) }

// execIO are the streams of a command, as go-runc wants them.
type execIO struct {
	runc.IO
	e    *Exec
	null *os.File
}

// Set gives the runtime the streams. What is nothing is a file of its own: go-runc
// would gather what is written, and wait for its end.
func (io *execIO) Set(cmd *exec.Cmd) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.null, io.null, io.null
	if io.e.Tty {
		return
	}
	if io.e.Stdin != nil {
		cmd.Stdin = io.e.Stdin
	}
	if io.e.Stdout != nil {
		cmd.Stdout = io.e.Stdout
	}
	if io.e.Stderr != nil {
		cmd.Stderr = io.e.Stderr
	}
}
