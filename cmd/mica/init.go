package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"mica/container"
)

// runInit is the first process of a container with --init: it starts the
// command, passes signals on to it, waits for orphans, and ends with its status.
func runInit(args []string, std streams) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(std.err, container.InitName+": no command")
		return exitRun
	}
	runtime.LockOSThread()
	path, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		fmt.Fprintf(std.err, "%s: %v\n", container.InitName, err)
		if errors.Is(err, os.ErrPermission) {
			return 126
		}
		return 127
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	child, err := os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: isTerminal(os.Stdin)}})
	if err != nil {
		fmt.Fprintf(std.err, "%s: %v\n", container.InitName, err)
		return 126
	}
	go func() {
		for s := range signals {
			switch s {
			case unix.SIGCHLD, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU, unix.SIGPIPE:
			default:
				_ = unix.Kill(child.Pid, s.(unix.Signal)) // it may have ended
			}
		}
	}()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			fmt.Fprintf(std.err, "%s: wait: %v\n", container.InitName, err)
			return exitRun
		case pid == child.Pid && ws.Signaled():
			return exitSignal + int(ws.Signal())
		case pid == child.Pid && ws.Exited():
			return ws.ExitStatus()
		}
	}
}
