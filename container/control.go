package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	runc "github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// stopTimeout is how long a container may take to end once it is asked to, in seconds.
const stopTimeout = 10

// IsRunning reports whether its first process is there.
func (c *Container) IsRunning() bool { return c.running() }

// Kill sends a signal to its first process. One that is to end by it is not
// started again.
func (c *Container) Kill(ctx context.Context, sig unix.Signal) error {
	if !c.running() {
		return &NotRunningError{c.Config.Name}
	}
	if sig == unix.SIGKILL || sig == c.Config.Process.stopSignal() {
		if err := c.change(func(st *State) { st.Stopped = true }); err != nil {
			return err
		}
	}
	return c.signal(ctx, sig)
}

// Signal sends one on that a user's terminal or another program has sent.
func (c *Container) Signal(ctx context.Context, sig unix.Signal) error { return c.signal(ctx, sig) }

func (c *Container) signal(ctx context.Context, sig unix.Signal) error {
	if c.State.Init.Pid == 0 {
		return &NotRunningError{c.Config.Name}
	}
	err := c.State.Init.signal(sig)
	if err == unix.EPERM { // it has the identity of another, in a user namespace of ours
		r, err := newRuntime(c.Config.Host.Runtime, "")
		if err != nil {
			return err
		}
		return r.Kill(ctx, c.Config.ID, int(sig), nil)
	}
	if err == unix.ESRCH {
		return nil
	}
	return err
}

// Stop asks it to end by its stop signal, or another, and kills it if it has not
// after so many seconds; nil is its own, or ten. It returns when the end is on
// record.
func (c *Container) Stop(ctx context.Context, sig unix.Signal, timeout *int) error {
	wait := stopTimeout
	if t := c.Config.Process.StopTimeout; t != nil {
		wait = *t
	}
	if timeout != nil {
		wait = *timeout
	}
	if sig == 0 {
		sig = c.Config.Process.stopSignal()
	}
	if err := c.change(func(st *State) { st.Stopped = true }); err != nil {
		return err
	}
	if err := c.awaitInit(ctx); err != nil {
		return err
	}
	init := c.State.Init
	if init.Alive() {
		if g, err := FindCgroups(); err == nil && g.frozen(&c.Config) {
			// A frozen one would take no signal but this, and that later.
			if err := c.Unpause(ctx); err != nil {
				return err
			}
		}
		if err := c.signal(ctx, sig); err != nil {
			return err
		}
		ended, err := init.wait(ctx, time.Duration(wait)*time.Second, wait < 0)
		if err != nil {
			return err
		}
		if !ended {
			if err := c.signal(ctx, unix.SIGKILL); err != nil {
				return err
			}
			if _, err := init.wait(ctx, 0, true); err != nil {
				return err
			}
		}
	}
	return c.awaitEnd(ctx)
}

// awaitInit waits for the first process of a container that is about to start, so
// that there is something to be stopped.
func (c *Container) awaitInit(ctx context.Context) error {
	for end := time.Now().Add(endingTime); !c.running() && c.State.Status != Exited && c.Supervised() && time.Now().Before(end); {
		select {
		case <-time.After(3 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.Reload(); os.IsNotExist(err) {
			return nil // it could not be started, and was to be removed then
		} else if err != nil {
			return err
		}
	}
	return nil
}

// awaitEnd waits until it is on record that it has ended.
func (c *Container) awaitEnd(ctx context.Context) error {
	for end := time.Now().Add(endingTime); ; {
		if err := c.Reload(); err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if c.State.Status == Exited || c.State.Status == Created {
			return nil
		}
		if !c.Supervised() && !c.running() {
			_, err := c.Settle(ctx)
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("has been killed, and has not ended in %s", endingTime)
		}
		select {
		case <-time.After(3 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait waits until a process has ended, for a time or without end.
func (p Proc) wait(ctx context.Context, timeout time.Duration, forever bool) (ended bool, err error) {
	fd, err := p.open()
	if err == unix.ESRCH {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	for end := time.Now().Add(timeout); ; {
		// In short turns, so that the context is looked at.
		turn := 100
		if left := time.Until(end).Milliseconds(); !forever && left < int64(turn) {
			turn = int(max(left, 0))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, turn)
		switch {
		case n > 0:
			return true, nil
		case err != nil && err != unix.EINTR:
			return false, err
		case ctx.Err() != nil:
			return false, ctx.Err()
		case !forever && time.Now().After(end):
			return false, nil
		}
	}
}

// AwaitNotRunning waits until it has ended for good and gives the exit status.
func (c *Container) AwaitNotRunning(ctx context.Context) (int, error) {
	client, err := c.Attach(Streams{})
	if err == nil {
		defer client.Close()
		stop := context.AfterFunc(ctx, func() { client.Close() })
		defer stop()
		code, err := client.Wait(Streams{})
		if err == nil || ctx.Err() != nil {
			return code, err
		}
	}
	if _, err := c.State.Init.wait(ctx, 0, true); err != nil {
		return 0, err
	}
	if err := c.awaitEnd(ctx); err != nil {
		return 0, err
	}
	return c.State.ExitCode, nil
}

// Paused reports whether it runs and is frozen.
func (c *Container) Paused() bool {
	if !c.running() {
		return false
	}
	g, err := FindCgroups()
	return err == nil && g.frozen(&c.Config)
}

// Pause freezes all of its processes.
func (c *Container) Pause(ctx context.Context) error {
	return c.withRuntime(func(r *runc.Runc) error { return r.Pause(ctx, c.Config.ID) })
}

// Unpause has them go on.
func (c *Container) Unpause(ctx context.Context) error {
	return c.withRuntime(func(r *runc.Runc) error { return r.Resume(ctx, c.Config.ID) })
}

func (c *Container) withRuntime(do func(r *runc.Runc) error) error {
	if !c.running() {
		return &NotRunningError{c.Config.Name}
	}
	log := filepath.Join(c.dir, "bundle", fmt.Sprint("runtime.", os.Getpid(), ".log"))
	defer os.Remove(log)
	r, err := newRuntime(c.Config.Host.Runtime, log)
	if err != nil {
		return err
	}
	return runtimeError(do(r), log, nil)
}

// Update changes limits and restart policy, also of one that runs.
func (c *Container) Update(ctx context.Context, how func(h *HostConfig)) error {
	host := c.Config.Host
	how(&host)
	if c.running() {
		groups, err := FindCgroups()
		if err != nil {
			return err
		}
		out := &specs.LinuxResources{}
		if err := limit(out, &host.Resources, groups); err != nil {
			return err
		}
		if host.Resources != c.Config.Host.Resources {
			err := c.withRuntime(func(r *runc.Runc) error { return r.Update(ctx, c.Config.ID, out) })
			if err != nil {
				return err
			}
		}
	}
	return c.Configure(func(cfg *Config) error {
		how(&cfg.Host)
		return nil
	})
}
