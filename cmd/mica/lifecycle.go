package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/container"
)

func newStart(std streams) *cobra.Command {
	s := &starter{std: std}
	cmd := &cobra.Command{
		Use:   "start [flags] CONTAINER…",
		Short: "Start containers that do not run",
		Long: `Start runs the command of each CONTAINER again, on the files that it has left.
With --attach one is seen through to its end, whose exit status mica then has.`,
		Example: `  mica start web
  mica start -a job
  mica start -ai shell`,
		ValidArgsFunction: s.complete(notRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.attach || s.interactive {
				if len(args) > 1 {
					return &usageError{err: errors.New("--attach is for one container")}
				}
				return runError(s.startAttached(cmd, args[0]))
			}
			return s.each(cmd, std, args, s.start)
		},
	}
	s.add(cmd.Flags())
	cmd.Flags().BoolVarP(&s.attach, "attach", "a", false, "show its output and pass signals on")
	cmd.Flags().BoolVarP(&s.interactive, "interactive", "i", false, "send it standard input")
	cmd.Flags().StringVar(&s.keys, "detach-keys", "ctrl-p,ctrl-q", "`KEYS` that leave it to itself, if it has a terminal")
	return cmd
}

type starter struct {
	containerFlags
	std                 streams
	attach, interactive bool
	keys                string
}

// start starts a container in the background. One that runs already is no failure.
func (s *starter) start(ctx context.Context, c *container.Container) error {
	err := c.TakeCharge(ctx)
	if errors.As(err, new(*container.RunningError)) {
		return nil
	}
	if err != nil {
		return err
	}
	client, err := s.launch(ctx, &session{c: c, std: s.std})
	if err == nil {
		err = errors.Join(client.AwaitStart(container.Streams{}), client.Close())
	}
	return err
}

// launch starts a container that it is in charge of: the image that it was made
// of is looked for again.
func (s *starter) launch(ctx context.Context, on *session) (*container.Client, error) {
	img, err := s.open(ctx, on.c, s.std)
	if err != nil {
		on.c.Release()
		return nil, err
	}
	return startContainer(ctx, on.c, img, on)
}

// open opens the image of a container.
func (f *containerFlags) open(ctx context.Context, c *container.Container, std streams) (*openImage, error) {
	flags := f.images
	flags.platform, flags.deferred = c.Config.Image.Platform, true
	img, err := flags.open(ctx, c.Config.Image.Source, flags.show(std.err))
	if err != nil {
		return nil, err
	}
	if d := img.meta.Manifest.Digest.String(); d != c.Config.Image.Digest {
		err := fmt.Errorf("%s: is another image by now: %s, was %s", c.Config.Image.Name, shortDigest(d), shortDigest(c.Config.Image.Digest))
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

func (s *starter) startAttached(cmd *cobra.Command, name string) error {
	ctx := cmd.Context()
	keys, err := parseKeys(s.keys)
	if err != nil {
		return err
	}
	c, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if err := c.TakeCharge(ctx); err != nil {
		return &argError{name, err}
	}
	on := &session{c: c, std: s.std, tty: c.Config.Process.Tty, stdin: s.interactive && c.Config.Process.OpenStdin, output: true, proxy: true, keys: keys}
	signals := on.catch()
	client, err := s.launch(ctx, on)
	if err == nil {
		err = client.AwaitStart(on.streams())
	}
	if err != nil {
		return &argError{name, err}
	}
	return (&runner{std: s.std}).finish(on, client, signals, name)
}

func newStop(std streams) *cobra.Command {
	var f containerFlags
	var seconds int
	var name string
	cmd := &cobra.Command{
		Use:   "stop [flags] CONTAINER…",
		Short: "Ask containers to end, and end them if they do not",
		Long: `Stop sends each CONTAINER its stop signal, and KILL if it still runs some seconds
later. What its restart policy says, it is not started again.`,
		Example: `  mica stop web
  mica stop -t 60 db
  mica stop $(mica ps -q)`,
		ValidArgsFunction: f.complete(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, timeout, err := stopping(cmd, name, seconds)
			if err != nil {
				return err
			}
			return f.each(cmd, std, args, func(ctx context.Context, c *container.Container) error { return c.Stop(ctx, sig, timeout) })
		},
	}
	f.add(cmd.Flags())
	addStopping(cmd, &name, &seconds)
	return cmd
}

// addStopping adds the flags of stop, which restart has too.
func addStopping(cmd *cobra.Command, signal *string, seconds *int) {
	cmd.Flags().StringVarP(signal, "signal", "s", "", "ask by `SIGNAL` (default the container's stop signal)")
	cmd.Flags().IntVarP(seconds, "time", "t", 10, "kill after `SECONDS`; -1 is never (default the container's, else 10)")
	cmd.Flags().IntVar(seconds, "timeout", 10, "the same")
	cmd.Flags().Lookup("timeout").Hidden = true
}

func stopping(cmd *cobra.Command, name string, seconds int) (sig unix.Signal, timeout *int, err error) {
	if name != "" {
		if sig, err = container.ParseSignal(name); err != nil {
			return 0, nil, &usageError{err: err}
		}
	}
	if cmd.Flags().Changed("time") || cmd.Flags().Changed("timeout") {
		timeout = &seconds
	}
	return sig, timeout, nil
}

func newRestart(std streams) *cobra.Command {
	s := &starter{std: std}
	var seconds int
	var name string
	cmd := &cobra.Command{
		Use:   "restart [flags] CONTAINER…",
		Short: "Stop containers and start them again",
		Long: `Restart stops each CONTAINER as stop does, if it runs, and starts it as start
does, on the files that it has left.`,
		Example: `  mica restart web
  mica restart -t 1 web db
  mica restart -s HUP -t -1 web`,
		ValidArgsFunction: s.complete(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, timeout, err := stopping(cmd, name, seconds)
			if err != nil {
				return err
			}
			return s.each(cmd, std, args, func(ctx context.Context, c *container.Container) error {
				if err := c.Stop(ctx, sig, timeout); err != nil {
					return err
				}
				return s.start(ctx, c)
			})
		},
	}
	s.add(cmd.Flags())
	addStopping(cmd, &name, &seconds)
	return cmd
}

func newKill(std streams) *cobra.Command {
	var f containerFlags
	var name string
	cmd := &cobra.Command{
		Use:   "kill [flags] CONTAINER…",
		Short: "Send containers a signal",
		Long: `Kill sends the first process of each CONTAINER a signal. By KILL, and by its stop
signal, it ends for good: no restart policy starts it again.`,
		Example: `  mica kill web
  mica kill -s HUP web
  mica kill $(mica ps -q)`,
		ValidArgsFunction: f.complete(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, err := container.ParseSignal(name)
			if err != nil {
				return &usageError{err: err}
			}
			return f.each(cmd, std, args, func(ctx context.Context, c *container.Container) error { return c.Kill(ctx, sig) })
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&name, "signal", "s", "KILL", "send `SIGNAL`, by name or number")
	return cmd
}

func newRm(std streams) *cobra.Command {
	var f containerFlags
	var force, volumes bool
	cmd := &cobra.Command{
		Use:   "rm [flags] CONTAINER…",
		Short: "Remove containers",
		Long: `Rm removes each CONTAINER with all that it has written. One that runs is refused,
or killed first with --force.`,
		Example: `  mica rm job
  mica rm -f web
  mica rm -v $(mica ps -aq --filter status=exited)`,
		ValidArgsFunction: f.complete(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.each(cmd, std, args, func(ctx context.Context, c *container.Container) error {
				return removeContainer(ctx, c, force, volumes)
			})
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill what runs")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove its volumes that have no name, too")
	return cmd
}

// removeContainer removes a container, one that runs only by force.
func removeContainer(ctx context.Context, c *container.Container, force, volumes bool) error {
	if force && (c.IsRunning() || c.Supervised()) {
		now := 0
		if err := c.Stop(ctx, unix.SIGKILL, &now); err != nil {
			return err
		}
	}
	err := c.TakeCharge(ctx)
	if errors.Is(err, iofs.ErrNotExist) && c.Config.Host.AutoRemove {
		return nil // went by itself when it was killed
	}
	if err != nil {
		return err
	}
	if volumes {
		if err := c.RemoveVolumes(); err != nil {
			return err
		}
	}
	return c.Remove(ctx)
}

func newWait(std streams) *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "wait [flags] CONTAINER…",
		Short: "Wait until containers have ended",
		Long:  `Wait waits for each CONTAINER in turn and prints its exit status.`,
		Example: `  mica wait job
  test "$(mica wait job)" = 0
  mica wait $(mica ps -q)`,
		ValidArgsFunction: f.complete(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			var failed []error
			for _, name := range args {
				c, err := f.find(cmd.Context(), name)
				if err != nil {
					failed = append(failed, err)
					continue
				}
				code := c.State.ExitCode
				if c.IsRunning() || c.Supervised() {
					if code, err = c.AwaitNotRunning(cmd.Context()); err != nil {
						failed = append(failed, &argError{name, err})
						continue
					}
				}
				if _, err := fmt.Fprintln(std.out, code); err != nil {
					return err
				}
			}
			return tellAll(cmd, std, failed)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func newRename(std streams) *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "rename [flags] CONTAINER NAME",
		Short: "Give a container another name",
		Long:  `Rename calls CONTAINER by NAME from now on, whether it runs or not.`,
		Example: `  mica rename web web-old
  mica rename 3f9c1a2b7d4e db
  mica run -d --name web web:2`,
		ValidArgsFunction: f.completeOne(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.Rename(cmd.Context(), args[1]); err != nil {
				return &argError{args[0], err}
			}
			return nil
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func newPause(std streams) *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "pause [flags] CONTAINER…",
		Short: "Freeze all processes of containers",
		Long:  `Pause has all processes of each CONTAINER stand still where they are, until unpause.`,
		Example: `  mica pause web
  mica cp web:/srv/data . && mica unpause web
  mica ps --filter status=paused`,
		ValidArgsFunction: f.complete(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.each(cmd, std, args, func(ctx context.Context, c *container.Container) error { return c.Pause(ctx) })
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func newUnpause(std streams) *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "unpause [flags] CONTAINER…",
		Short: "Have frozen containers go on",
		Long:  `Unpause ends what pause began.`,
		Example: `  mica unpause web
  mica unpause $(mica ps -q --filter status=paused)
  mica pause web; sleep 5; mica unpause web`,
		ValidArgsFunction: f.complete((*container.Container).Paused),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.each(cmd, std, args, func(ctx context.Context, c *container.Container) error { return c.Unpause(ctx) })
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func newUpdate(std streams) *cobra.Command {
	var f containerFlags
	var limits runFlags
	cmd := &cobra.Command{
		Use:   "update [flags] CONTAINER…",
		Short: "Change the limits of containers",
		Long:  `Update changes limits and restart policy of each CONTAINER, at once where it runs.`,
		Example: `  mica update -m 1g web
  mica update --cpus 0.5 --pids-limit 100 web
  mica update --restart unless-stopped web db`,
		ValidArgsFunction: f.complete(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			var changed container.HostConfig
			if err := limits.limits(&changed); err != nil {
				return &usageError{err: err}
			}
			r := limits.cfg.Host.Resources
			changed.CPUShares, changed.CPUPeriod, changed.CPUQuota, changed.CpusetCpus, changed.CpusetMems = r.CPUShares, r.CPUPeriod, r.CPUQuota, r.CpusetCpus, r.CpusetMems
			return f.each(cmd, std, args, func(ctx context.Context, c *container.Container) error {
				return c.Update(ctx, func(h *container.HostConfig) { updateHost(cmd, h, &changed) })
			})
		},
	}
	f.add(cmd.Flags())
	limits.addLimits(cmd.Flags())
	return cmd
}

// updateHost takes over what was asked for by flags.
func updateHost(cmd *cobra.Command, h, from *container.HostConfig) {
	for flag, take := range map[string]func(){
		"restart": func() { h.RestartPolicy = from.RestartPolicy }, "memory": func() { h.Memory = from.Memory },
		"memory-swap": func() { h.MemorySwap = from.MemorySwap }, "memory-reservation": func() { h.MemoryReservation = from.MemoryReservation },
		"cpus": func() { h.NanoCpus = from.NanoCpus }, "cpu-shares": func() { h.CPUShares = from.CPUShares },
		"cpu-period": func() { h.CPUPeriod = from.CPUPeriod }, "cpu-quota": func() { h.CPUQuota = from.CPUQuota },
		"cpuset-cpus": func() { h.CpusetCpus = from.CpusetCpus }, "cpuset-mems": func() { h.CpusetMems = from.CpusetMems },
		"pids-limit": func() { h.PidsLimit = from.PidsLimit },
	} {
		if cmd.Flags().Changed(flag) {
			take()
		}
	}
}

// since is a time that is over as docker prints it, without "ago".
func since(t time.Time) string { return ago(t)[:len(ago(t))-len(" ago")] }
