package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/overlay/writable"
)

func newWith(std streams) *cobra.Command {
	w := &wither{std: std}
	cmd := &cobra.Command{
		Use:   "with [flags] IMAGE [--] COMMAND…",
		Short: "Run a command that sees an image as a directory",
		Long: `With runs COMMAND in the root directory of IMAGE; or, where {} is part of its
words, where it is, with the path of that directory in place of {}. Nobody else
sees the mount (root's, that is: an ordinary user's is one like any other), and it
is gone with the command. With --rw the command can change the files, and the
changes are gone as well.

The exit status is the command's, 128 and its number if a signal has ended it;
125 is mica's own failure, 126 that the command cannot be run, 127 that there is
none.`,
		Example: `  mica with debian.tar -- ls -l etc
  mica with app -- trivy fs .
  mica with --rw app -- sh -c 'rm -r usr/share/doc && du -sh .'
  mica with app -- diff -r {}/etc /etc`,
		ValidArgsFunction: w.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			command := withoutDashes(args[1:])
			if len(command) == 0 {
				return &usageError{err: errors.New("COMMAND missing")}
			}
			return w.run(cmd.Context(), args[0], command)
		},
	}
	flags := cmd.Flags()
	w.addMount(flags)
	flags.BoolVar(&w.rw, "rw", false, "allow changes; they are gone after the command")
	return cmd
}

// withoutDashes gives a command without what may stand before it.
func withoutDashes(words []string) []string {
	if len(words) > 0 && words[0] == "--" {
		return words[1:]
	}
	return words
}

// A wither runs a command with an image mounted.
type wither struct {
	imageFlags
	std streams
	rw  bool
}

func (w *wither) addMount(flags *pflag.FlagSet) {
	w.add(flags)
	w.part.add(flags)
	flags.SetInterspersed(false)
}

// A withError is a failure of mica's own, where the exit status is a command's.
type withError struct {
	error
	status int
}

func (e *withError) Unwrap() error   { return e.error }
func (e *withError) ExitStatus() int { return e.status }

func (w *wither) run(ctx context.Context, image string, command []string) error {
	return w.see(ctx, image, command, nil)
}

// see runs a command with an image mounted. then, if not nil, is called when it
// has ended well and the mount is gone, with what it has changed still there.
func (w *wither) see(ctx context.Context, image string, command []string, then func(*openImage, *sight) error) (err error) {
	img, err := w.open(ctx, image, w.show(w.std.err))
	if err != nil {
		return &withError{err, exitRun}
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	s, err := w.mount(img, image)
	if err != nil {
		return &withError{&argError{image, err}, exitRun}
	}
	status, err := s.command(w.std, command)
	err = errors.Join(err, s.unmount())
	if err == nil && status == 0 && then != nil {
		err = then(img, s)
	}
	err = errors.Join(err, s.release())
	switch {
	case err != nil:
		return &withError{err, exitRun}
	case status != 0:
		return &toldError{status}
	}
	return nil
}

// A sight is an image that is mounted for one command, served by this process.
type sight struct {
	dir    string
	remove bool // the directory was made for it, as for all but root
	umask  int  // of this process as it was
	upper  *upper
	view   *writable.View
	served chan error
	root   *os.File // open, or nil
}

// mount mounts an image for a command: for root at a directory of the store, in a
// namespace where that is nobody else's; for others at a new directory.
func (w *wither) mount(img *openImage, image string) (s *sight, err error) {
	s = &sight{served: make(chan error, 1), umask: unix.Umask(0)}
	unix.Umask(s.umask) // whoever serves what can be written has none
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	private := os.Geteuid() == 0
	if private {
		s.dir = filepath.Join(img.store.Root(), "with")
		err = errors.Join(os.MkdirAll(s.dir, 0o755), fs.Private())
	} else if s.dir, err = os.MkdirTemp("", "mica-"); err == nil {
		s.remove = true
	}
	if err != nil {
		return nil, err
	}
	o := fs.Options{
		Source: w.part.source(img.meta), Writable: w.rw, AllowOther: private, Log: newLog(w.std.err, false),
	}
	if !private {
		o.RuntimeDir = fs.RuntimeDir(img.store.Root())
	}
	var view fs.View = img.View
	if w.rw {
		if err := s.openUpper(img); err != nil {
			return nil, err
		}
		view = s.view
	}
	debug.SetMemoryLimit(serverHeap)
	server, err := fs.Mount(s.dir, view, o)
	if err != nil {
		return nil, err
	}
	// Until it is unmounted: a signal is the command's to obey.
	go func() { s.served <- server.Serve(context.Background()) }()
	return s, nil
}

// openUpper makes an upper directory that goes with the mount.
func (s *sight) openUpper(img *openImage) (err error) {
	s.upper = &upper{}
	if err := s.upper.openScratch(filepath.Join(img.store.Root(), "scratch")); err != nil {
		return err
	}
	s.view, err = writable.Open(img.View, s.upper.Dirs, false)
	return err
}

// command runs a command and gives its exit status.
func (s *sight) command(std streams, words []string) (status int, err error) {
	words = slices.Clone(words)
	here := true
	for i, word := range words {
		if strings.Contains(word, "{}") {
			words[i], here = strings.ReplaceAll(word, "{}", s.dir), false
		}
	}
	dir := ""
	if here {
		dir = s.dir
	}
	cmd, err := s.directly(words, dir)
	if err != nil {
		return exitRun, err
	}
	if cmd == nil {
		// The program may lie in the mount: between fork and exec it cannot be waited
		// for, as the one who serves it is in this process and may be waiting for the
		// fork. So another process looks for it there.
		cmd = exec.Command("/proc/self/exe", append([]string{strconv.FormatInt(int64(s.umask), 8), dir}, words...)...)
		cmd.Args[0] = insideName
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.in, std.out, std.err
	if err := cmd.Start(); err != nil {
		return exitRun, err
	}
	stop := passSignals(cmd.Process, isTerminal(std.in))
	defer stop()
	err = cmd.Wait()
	ended, ok := cmd.ProcessState.Sys().(interface {
		Signaled() bool
		Signal() unix.Signal
	})
	switch {
	case ok && ended.Signaled():
		return exitSignal + int(ended.Signal()), nil
	case errors.As(err, new(*exec.ExitError)):
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, err
}

// directly gives a command whose program lies outside of the mount, to be started in
// dir; nil if it may not, or if it has to have another umask. A directory that is open,
// and whose attributes the kernel knows, it enters without asking: that takes 7 ms
// of processor time less than another process.
func (s *sight) directly(words []string, dir string) (*exec.Cmd, error) {
	program, err := exec.LookPath(words[0])
	if err != nil || !filepath.IsAbs(program) || inside(program, s.dir) || s.view != nil {
		return nil, nil
	}
	if dir != "" && s.remove {
		// An ordinary user's mount has the server asked who may enter, which would
		// wait for the fork.
		return nil, nil
	}
	cmd := exec.Command(program, words[1:]...)
	cmd.Args[0] = words[0]
	if dir == "" {
		return cmd, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if _, err := f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.root = f
	cmd.Dir, cmd.Env = fmt.Sprintf("/proc/self/fd/%d", f.Fd()), append(os.Environ(), "PWD="+dir)
	return cmd, nil
}

// insideName is what this program is called as when it is to become the command.
const insideName = "mica-with"

// runInside sets the umask, goes to a directory, "" being here, and becomes a
// command. What it gives is the exit status if it cannot.
func runInside(args []string, std streams) int {
	umask, dir, words := args[0], args[1], args[2:]
	path := ""
	mask, err := strconv.ParseUint(umask, 8, 32)
	if err == nil {
		unix.Umask(int(mask))
	}
	if err == nil && dir != "" {
		if err = os.Chdir(dir); err == nil {
			err = os.Setenv("PWD", dir)
		}
	}
	if err == nil {
		if path, err = exec.LookPath(words[0]); errors.Is(err, exec.ErrDot) {
			err = nil // as the shell does with a PATH that says so
		}
	}
	if err == nil {
		err = unix.Exec(path, words, os.Environ())
	}
	if at := (*exec.Error)(nil); errors.As(err, &at) {
		err = at.Err
	}
	fmt.Fprintf(std.err, "mica: with: %s: %v\n", printable(words[0]), bare(err))
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, unix.ENOENT) {
		return 127
	}
	return 126
}

// passSignals passes on to a process what mica is sent, but what a terminal sends
// to both.
func passSignals(p *os.Process, terminal bool) (stop func()) {
	signals := make(chan os.Signal, 8)
	which := []os.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGINT, unix.SIGQUIT}
	signal.Notify(signals, which...)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-signals:
				if terminal && (sig == unix.SIGINT || sig == unix.SIGQUIT) {
					continue
				}
				_ = p.Signal(sig) // it may have ended
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(signals); close(done) }
}

// unmount takes the mount away, once what was written has come to the upper. Who
// still uses it, in the background, has lost it.
func (s *sight) unmount() error {
	if s.root != nil {
		s.root.Close()
	}
	if s.view != nil {
		flushMount(s.dir)
	}
	err := fs.Unmount(s.dir, false)
	if errors.As(err, new(*fs.BusyError)) {
		err = fs.Unmount(s.dir, true)
		return err // who serves whom does not matter any more
	}
	if err != nil {
		return err
	}
	return <-s.served
}

// release lets go of what the mount was made of.
func (s *sight) release() (err error) {
	if s.view != nil {
		err = s.view.Close()
	}
	if s.upper != nil {
		err = errors.Join(err, s.upper.Close())
		if s.upper.scratch != "" {
			err = errors.Join(err, os.RemoveAll(s.upper.scratch))
		}
	}
	if s.remove {
		err = errors.Join(err, os.Remove(s.dir))
	}
	if err != nil {
		err = fmt.Errorf("after the command: %w", err)
	}
	return err
}
