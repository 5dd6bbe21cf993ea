package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"mica/container"
	"mica/fs"
)

// memory is how many bytes mica uses before it collects garbage more often
// than Go would by itself: what it promises is 128 MiB.
const memory = 96 << 20

func main() {
	if fs.IsHolder() {
		os.Exit(fs.RunHolder())
	}
	if container.IsSupervisor() {
		os.Exit(container.RunSupervisor())
	}
	debug.SetMemoryLimit(memory)
	std := streams{os.Stdin, os.Stdout, os.Stderr}
	held, err := fs.Inherit()
	if err != nil {
		fmt.Fprintln(std.err, "mica:", err)
		os.Exit(exitFailed)
	}
	if held != nil {
		os.Exit(serveHeld(untilSignal(), held, std))
	}
	name := filepath.Base(os.Args[0])
	if name == container.InitName {
		os.Exit(runInit(os.Args[1:], std))
	}
	if applet := applets[name]; applet != nil {
		os.Exit(applet(os.Args[1:], std))
	}
	if name == insideName {
		os.Exit(runInside(os.Args[1:], std))
	}
	ctx := untilSignal()
	if isMountHelper(name) {
		os.Exit(runMountHelper(ctx, os.Args[1:], std))
	}
	os.Exit(run(ctx, os.Args[1:], std))
}

// streams are the standard ones of a command.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// Exit statuses, as mica(1) tells them. 128 and a signal's number is added to.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitSignal   = 128
)

// run is mica without its process: it gives the exit status.
func run(ctx context.Context, args []string, std streams) int {
	if helper, ok := asMountHelper(args); ok {
		return runMountHelper(ctx, helper, std)
	}
	root := newRoot(std)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	return newFailure(ctx, cmd, err).report(std.err, wantsJSON(root))
}

// A signalError says which signal has ended the work.
type signalError struct{ unix.Signal }

func (e signalError) Error() string { return e.Signal.String() }

// untilSignal gives a context that ends with the first signal that asks mica to
// end, a signalError being the cause. A second one kills it as it would any program.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if !signal.Ignored(s) { // as nohup has it, and shells for what runs in the background
			signal.Notify(signals, s)
		}
	}
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(signalError{s.(unix.Signal)})
	}()
	return ctx
}
