package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/containerd/console"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/container"
)

func newExec(std streams) *cobra.Command {
	e := &execer{std: std}
	cmd := &cobra.Command{
		Use:   "exec [flags] CONTAINER COMMAND [ARGUMENT…]",
		Short: "Run another command in a container",
		Long: `Exec runs COMMAND in a CONTAINER that runs, with its environment, user and limits
unless told otherwise. The exit status is the command's; 125 to 127 as of run.`,
		Example: `  mica exec web cat /etc/os-release
  mica exec -it web sh
  mica exec -u 0 -e DEBUG=1 -w /srv web ./check`,
		Annotations:       map[string]string{exitsAsContainer: "yes", checksOperands: "yes"},
		ValidArgsFunction: e.completeOne(isRunning),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("CONTAINER and COMMAND wanted")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runError(e.run(cmd, args[0], args[1:])) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	e.containerFlags.add(flags)
	flags.BoolVarP(&e.interactive, "interactive", "i", false, "send it standard input")
	flags.BoolVarP(&e.exec.Tty, "tty", "t", false, "give it a terminal")
	flags.BoolVarP(&e.exec.Detach, "detach", "d", false, "do not wait for it")
	flags.StringArrayVarP(&e.env, "env", "e", nil, "set the variable `NAME=VALUE`, or NAME to what it is here")
	flags.StringArrayVar(&e.envFiles, "env-file", nil, "set variables from the lines of `FILE`")
	flags.StringVarP(&e.exec.User, "user", "u", "", "run as `USER[:GROUP]`")
	flags.StringVarP(&e.exec.WorkingDir, "workdir", "w", "", "begin in the directory `DIR`")
	flags.BoolVar(&e.exec.Privileged, "privileged", false, "with all capabilities")
	flags.StringVar(&e.keys, "detach-keys", "ctrl-p,ctrl-q", "`KEYS` that leave it to itself, with -it")
	return cmd
}

type execer struct {
	containerFlags
	runFlags
	std         streams
	exec        container.Exec
	interactive bool
	keys        string
}

func (e *execer) run(cmd *cobra.Command, name string, command []string) error {
	if err := e.environment(); err != nil {
		return &usageError{err: err}
	}
	keys, err := parseKeys(e.keys)
	if err != nil {
		return err
	}
	c, err := e.find(cmd.Context(), name)
	if err != nil {
		return err
	}
	e.exec.Args, e.exec.Env = command, e.cfg.Process.Env
	on := &session{c: c, std: e.std, tty: e.exec.Tty, stdin: e.interactive, keys: keys}
	if e.exec.Tty && e.interactive && !e.exec.Detach && !isTerminal(e.std.in) {
		return errors.New("-t and -i: standard input is not a terminal")
	}
	if !e.exec.Detach {
		if e.interactive {
			e.exec.Stdin, _ = e.std.in.(*os.File)
		}
		e.exec.Stdout, _ = e.std.out.(*os.File)
		e.exec.Stderr, _ = e.std.err.(*os.File)
	}
	e.exec.Rows, e.exec.Columns = on.size()
	e.exec.Terminal = on.terminal
	code, err := c.Exec(cmd.Context(), &e.exec)
	switch {
	case err != nil:
		return &argError{name + " " + strings.Join(command, " "), err}
	case code != 0:
		return &toldError{code}
	}
	return nil
}

// terminal connects the user's terminal with one that is here, until that is
// closed. If the user leaves it to itself it ends this process: what waits for
// the command has nothing to wait for.
func (s *session) terminal(master console.Console) {
	restore, err := s.raw()
	if err != nil {
		return
	}
	defer restore()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGWINCH)
	defer signal.Stop(signals)
	go func() {
		for range signals {
			if rows, columns := s.size(); rows > 0 {
				_ = master.Resize(console.WinSize{Height: rows, Width: columns})
			}
		}
	}()
	if s.stdin {
		go func() {
			in := io.Reader(s.std.in)
			if len(s.keys) > 0 {
				in = &detacher{r: s.std.in, keys: s.keys, detach: func() {
					restore()
					os.Exit(0)
				}}
			}
			_, _ = io.Copy(master, in)
		}()
	}
	_, _ = io.Copy(s.std.out, master) // EIO is its end
}
