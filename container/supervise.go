package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// superviseEnv says, as a supervisorJob, that a process was started to supervise.
const superviseEnv = "MICA_SUPERVISE"

type supervisorJob struct {
	Root string // of the store
	ID   string
}

// The descriptors that a supervisor is started with.
const (
	superviseAlive = 3 // the lock that says who is in charge
	superviseConn  = 4 // who has started it, its first client
)

// supervisorGC is by how many per cent the heap of a supervisor grows before
// garbage is collected. A limit in bytes, as small as its heap is, would have Go
// collect all the time: it took 120 of 170 ms of processor time of a "run".
const supervisorGC = 20

// IsSupervisor reports whether this process was started to supervise.
func IsSupervisor() bool { return os.Getenv(superviseEnv) != "" }

// A Launch is a container that is about to start: its supervisor is there and
// waits for its root file system.
type Launch struct {
	c    *Container
	conn *net.UnixConn
	cmd  *exec.Cmd
}

// Prepare starts a supervisor, which takes over the charge of the container that
// the caller has. It waits for [Launch.Start].
func (c *Container) Prepare() (*Launch, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "supervisor")
	defer theirs.Close()
	conn, err := fileConn(os.NewFile(uintptr(fds[0]), "supervisor"))
	if err != nil {
		return nil, err
	}
	job, err := json.Marshal(supervisorJob{c.store.layers.Root(), c.Config.ID})
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.path("supervisor.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"mica", "supervise", c.Config.Name, c.Config.ID[:12]} // for ps
	cmd.Env = append(os.Environ(), superviseEnv+"="+string(job))
	cmd.ExtraFiles = []*os.File{c.alive, theirs}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.Release() // by the supervisor's descriptor it stays locked
	return &Launch{c, conn, cmd}, nil
}

// Abandon ends a supervisor that is not to start anything.
func (l *Launch) Abandon() {
	l.conn.Close()
	_ = l.cmd.Wait() // of its status nothing depends
}

// fileConn makes a connection of a socket, which it closes.
func fileConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// RunSupervisor supervises until its container has ended, and gives the status
// to exit with. It is for the main function, before that does anything that
// takes memory.
func RunSupervisor() int {
	debug.SetGCPercent(supervisorGC)
	runtime.GOMAXPROCS(2)
	_ = os.WriteFile("/proc/self/comm", []byte("mica"), 0)
	s, err := newSupervisor(os.Getenv(superviseEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, "mica: supervise:", err)
		return 1
	}
	return s.run()
}

// A supervisor starts a container and sees it through.
type supervisor struct {
	c        *Container
	hub      *hub
	starter  *net.UnixConn
	listener *net.UnixListener
}

func newSupervisor(text string) (*supervisor, error) {
	os.Unsetenv(superviseEnv)
	var job supervisorJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return nil, err
	}
	unix.CloseOnExec(superviseAlive)
	unix.CloseOnExec(superviseConn)
	s := &supervisor{}
	var err error
	if s.starter, err = fileConn(os.NewFile(superviseConn, "starter")); err != nil {
		return nil, err
	}
	store := Open(layerstore.Open(job.Root))
	s.c = &Container{store: store, alive: os.NewFile(superviseAlive, "alive")}
	s.c.dir = store.dir() + "/" + job.ID
	// What the runtime leaves behind, init above all, becomes a child of ours.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	return s, nil
}

// obeySignals has the container asked to end where the supervisor is: by who
// shuts the machine down, for one. It sees the container through all the same.
func (s *supervisor) obeySignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	for range signals {
		c := &Container{store: s.c.store, dir: s.c.dir}
		if err := c.change(func(st *State) { st.Stopped = true }); err == nil {
			err = c.signal(background, c.Config.Process.stopSignal())
			if err != nil {
				fmt.Fprintln(os.Stderr, "mica: supervise:", err)
			}
		}
	}
}

// run waits until the root file system is there, then sees the container through.
func (s *supervisor) run() int {
	fr := newFrameReader(s.starter)
	first, err := fr.next()
	if err != nil || first.kind != frameStart {
		return 1 // whoever started it has failed, and said why
	}
	if err := s.c.Reload(); err != nil {
		fmt.Fprintln(os.Stderr, "mica: supervise:", err)
		return 1
	}
	log, err := newLogWriter(s.c.path("log.json"), s.c.Config.Host.LogConfig)
	s.hub = &hub{log: log, once: s.c.Config.Process.StdinOnce}
	if client := s.hub.add(s.starter, first); client != nil {
		go s.hub.serve(client, fr)
	}
	if err == nil {
		err = s.listen()
	}
	if err == nil {
		go s.obeySignals()
		err = s.live()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mica: supervise:", err)
		return 1
	}
	return 0
}

// listen takes clients from now on.
func (s *supervisor) listen() (err error) {
	err = viaDir(s.c.dir, func(dir string) (err error) {
		path := dir + "/attach"
		_ = os.Remove(path) // of one that was killed
		s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return err
	}
	s.listener.SetUnlinkOnClose(false) // the name is not good later
	if err := os.Chmod(s.c.path("attach"), 0o600); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := s.listener.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				fr := newFrameReader(conn)
				f, err := fr.next()
				if err != nil || f.kind != frameHello {
					conn.Close()
				} else if client := s.hub.add(conn, f); client != nil {
					s.hub.serve(client, fr)
				}
			}()
		}
	}()
	return nil
}

// viaDir calls use with a short path to a directory: the address of a socket has
// room for 108 bytes.
func viaDir(path string, use func(dir string) error) error {
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(dir)
	return use(fmt.Sprintf("/proc/self/fd/%d", dir))
}

// background is the context of what a supervisor does: nothing interrupts it.
var background = context.Background()
