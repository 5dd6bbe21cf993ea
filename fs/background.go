package fs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyEnv tells a background server which descriptor its starter waits on.
const readyEnv = "MICA_READY_FD"

// Background starts cmd, which is to mount, call [Ready] and serve, and waits
// until it does so or ends. Up to then it is an ordinary child: it shares the
// terminal, prints its own errors and gets Ctrl-C; signals that reach the
// caller alone are passed on. The code is 0 if the mount is served, else that
// of the child, which has said why.
func Background(cmd *exec.Cmd) (code int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, w)
	cmd.Env = append(cmd.Environ(), fmt.Sprintf("%s=%d", readyEnv, 2+len(cmd.ExtraFiles)))

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, err
	}
	ready := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(r, make([]byte, 1))
		ready <- err
	}()
	for {
		select {
		case s := <-signals:
			// It may have ended this instant; then its code tells.
			_ = cmd.Process.Signal(s)
		case err := <-ready:
			if err == nil {
				return 0, cmd.Process.Release()
			}
			code, err := exitCode(cmd.Wait())
			if code == 0 && err == nil {
				code = 1 // told to end before it served
			}
			return code, err
		}
	}
}

// exitCode is the code of a process as a shell has it: 128 + the signal that killed it.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// Ready is called by what [Background] has started when the mount answers. It
// leaves the terminal, has log as its standard output and error from now on
// (nil for nowhere), and lets the starter end; the error is that the starter is
// gone, so that nobody would know of the mount. Else it does nothing.
func Ready(log *os.File) error {
	v := os.Getenv(readyEnv)
	if v == "" {
		return nil
	}
	os.Unsetenv(readyEnv)
	fd, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%s=%s: %w", readyEnv, v, err)
	}
	starter := os.NewFile(uintptr(fd), "starter")
	defer starter.Close()
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return os.NewSyscallError("setsid", err) // EPERM: we lead a session already
	}
	if err := leaveTerminal(log); err != nil {
		return err
	}
	_, err = starter.Write([]byte{1})
	return err
}

// leaveTerminal lets go of the working directory and of what the process was
// started with as standard streams; log takes their place.
func leaveTerminal(log *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if log == nil {
		log = null
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	for fd, f := range []*os.File{null, log, log} {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return nil
}
