package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mica/fs"
)

// A Container is one of a store, as it was when it was last read. It is not for
// several goroutines at once.
type Container struct {
	store *Store
	dir   string
	alive *os.File // locked while this process is in charge, else nil

	Config Config
	State  State
}

func (c *Container) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// Dir is where all that is of the container lies.
func (c *Container) Dir() string { return c.dir }

// Root is where its root file system is mounted while it runs.
func (c *Container) Root() string { return c.path("rootfs") }

// Upper and Work are the directories of its changes.
func (c *Container) Upper() string { return c.path("upper") }

// Work is beside [Container.Upper].
func (c *Container) Work() string { return c.path("work") }

// make makes the files of a new container and takes charge of it.
func (c *Container) make() (err error) {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o711); err != nil {
		return err
	}
	// 0711: what is in it is found by who is told where. The upper holds files of
	// all users of the container; only the way to it is closed.
	if err := os.Mkdir(c.dir, 0o711); err != nil {
		return err
	}
	for dir, mode := range map[string]os.FileMode{"upper": 0o755, "work": 0o700, "rootfs": 0o755, "bundle": 0o700, "etc": 0o755} {
		if err := os.Mkdir(c.path(dir), mode); err != nil {
			return err
		}
	}
	if c.alive, err = flock(context.Background(), c.path("alive"), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	// What is read first is written last: from here on it can be seen.
	return errors.Join(replaceFile(c.path("state.json"), &c.State), replaceFile(c.path("container.json"), &c.Config))
}

// Reload reads it again.
func (c *Container) Reload() error {
	var cfg Config
	var st State
	if err := readJSON(c.path("container.json"), &cfg); err != nil {
		return err
	}
	if err := readJSON(c.path("state.json"), &st); err != nil {
		return err
	}
	c.Config, c.State = cfg, st
	return nil
}

// change changes what is known of it, with what others may have changed since
// it was read.
func (c *Container) change(how func(st *State)) error {
	lock, err := flock(context.Background(), c.path("lock"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.Reload(); err != nil {
		return err
	}
	how(&c.State)
	return replaceFile(c.path("state.json"), &c.State)
}

// Configure changes what is asked of it.
func (c *Container) Configure(how func(cfg *Config) error) error {
	lock, err := flock(context.Background(), c.path("lock"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.Reload(); err != nil {
		return err
	}
	if err := how(&c.Config); err != nil {
		return err
	}
	return replaceFile(c.path("container.json"), &c.Config)
}

// Rename gives it another name.
func (c *Container) Rename(ctx context.Context, name string) error {
	if !nameForm.MatchString(name) {
		return &NameError{Name: name, reason: "letters, digits and _ . - after a letter or digit, two at least"}
	}
	unlock, err := c.store.lockNames(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return c.Configure(func(cfg *Config) error { return c.store.nameAnew(cfg, name) })
}

// A RunningError says that something cannot be done to a container that runs.
type RunningError struct{ Name string }

func (e *RunningError) Error() string { return "is running" }
func (e *RunningError) Code() string  { return "in-use" }
func (e *RunningError) Hint() string  { return "mica stop " + e.Name + " first, or -f" }

// A NotRunningError says that it would have to run.
type NotRunningError struct{ Name string }

func (e *NotRunningError) Error() string { return "is not running" }
func (e *NotRunningError) Code() string  { return "not-running" }
func (e *NotRunningError) Hint() string  { return "mica start " + e.Name }

// TakeCharge keeps all others from starting, removing and settling it, until
// Release. It waits for whoever is about to be done with it; a
// [RunningError] is that it runs.
func (c *Container) TakeCharge(ctx context.Context) error {
	for end := time.Now().Add(endingTime); ; {
		err := c.tryCharge(ctx)
		if err == nil {
			err = c.Reload()
			switch {
			case err != nil:
				c.Release()
				return err
			case c.running():
				c.Release()
				return &RunningError{c.Config.Name}
			}
			return c.settleInCharge(ctx)
		}
		if err != unix.EWOULDBLOCK {
			return err
		}
		if err := c.Reload(); err != nil {
			return err
		}
		if c.running() || time.Now().After(end) {
			return &RunningError{c.Config.Name}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// endingTime is how long one that has ended may take to be tidied up.
const endingTime = 20 * time.Second

func (c *Container) tryCharge(ctx context.Context) (err error) {
	if c.alive != nil {
		return nil
	}
	if _, err := os.Stat(c.path("container.json")); err != nil {
		return err // so that no file is made in a directory that is being removed
	}
	c.alive, err = flock(ctx, c.path("alive"), unix.LOCK_EX|unix.LOCK_NB)
	return err
}

// Release ends what [Container.TakeCharge] or [Store.Create] began.
func (c *Container) Release() {
	if c.alive != nil {
		c.alive.Close() // nothing was written
		c.alive = nil
	}
}

// running reports whether its first process is there, or about to be.
func (c *Container) running() bool {
	return c.State.Init.Alive()
}

// Supervised reports whether someone is in charge of it.
func (c *Container) Supervised() bool {
	f, err := flock(context.Background(), c.path("alive"), unix.LOCK_SH|unix.LOCK_NB)
	if err != nil {
		return err == unix.EWOULDBLOCK
	}
	f.Close()
	return false
}

// Settle compares what is known with what is there, where nobody is in charge:
// what a killed process has left is tidied up. It reports whether the container
// went with that.
func (c *Container) Settle(ctx context.Context) (gone bool, err error) {
	if c.settled() {
		return false, nil
	}
	err = c.tryCharge(ctx)
	if err == unix.EWOULDBLOCK {
		return false, c.awaitRecord(ctx)
	}
	if os.IsNotExist(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer c.Release()
	if err := c.Reload(); err != nil {
		return os.IsNotExist(err), err
	}
	if err := c.settleInCharge(ctx); err != nil {
		return false, err
	}
	if c.State.Status == Exited && c.Config.Host.AutoRemove && !c.running() || c.State.Status == Removing {
		return true, c.remove()
	}
	return false, nil
}

// settled reports whether it can be told without any lock that all is as its
// state says.
func (c *Container) settled() bool {
	switch c.State.Status {
	case Created, Exited:
		return !isMountpoint(c.Root())
	case Running:
		return c.running() && c.Supervised()
	}
	return false
}

// awaitRecord waits, where the first process has ended, until the supervisor
// has said so: else it would be shown running.
func (c *Container) awaitRecord(ctx context.Context) error {
	for end := time.Now().Add(2 * time.Second); c.State.Status == Running && !c.running() && time.Now().Before(end); {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.Reload(); err != nil {
			return err
		}
	}
	return nil
}

// lostStatus is the exit status of one that nobody saw end.
const lostStatus = 255

// settleInCharge tidies up after whoever was in charge before and was killed.
func (c *Container) settleInCharge(ctx context.Context) error {
	if c.running() || c.settled() {
		return nil // an orphan goes on
	}
	switch c.State.Status {
	case Running, Starting, Restarting:
		err := c.change(func(st *State) {
			st.Status, st.ExitCode, st.FinishedAt = Exited, lostStatus, time.Now()
			st.Init = Proc{}
			st.Error = "the exit status is not known: the supervisor was killed, or the machine went down"
		})
		if err != nil {
			return err
		}
	}
	return c.tidy(ctx)
}

// tidy removes what is there of a container only while it runs.
func (c *Container) tidy(ctx context.Context) error {
	// The runtime takes a while, and has its own mount namespace for what is mounted.
	deleted := make(chan error, 1)
	go func() { deleted <- deleteRuntime(ctx, c.Config.Host.Runtime, c.Config.ID) }()
	err := c.Unmount()
	err = errors.Join(err, <-deleted, removeCgroups(&c.Config))
	for _, name := range []string{"attach", "bundle/pid"} {
		if e := os.Remove(c.path(name)); e != nil && !os.IsNotExist(e) {
			err = errors.Join(err, e)
		}
	}
	if e := os.Remove(consolePath(c.Config.ID)); e != nil && !os.IsNotExist(e) {
		err = errors.Join(err, e)
	}
	return err
}

// Unmount takes its root file system away if it is mounted.
func (c *Container) Unmount() error {
	for isMountpoint(c.Root()) { // of a killed command there may be two
		if err := fs.Unmount(c.Root(), true); err != nil {
			return fmt.Errorf("unmount: %w", err)
		}
	}
	return nil
}

// isMountpoint reports whether something is mounted at a path. The server of
// that is not asked: it may be dead.
func isMountpoint(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, 0, &st)
	if err != nil {
		return err != unix.ENOENT
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// Remove removes a container that the caller is in charge of.
func (c *Container) Remove(ctx context.Context) error {
	if err := c.settleInCharge(ctx); err != nil {
		return err
	}
	return c.remove()
}

func (c *Container) remove() error {
	if err := c.change(func(st *State) { st.Status = Removing }); err != nil {
		return err
	}
	// First what makes it a container: one that is gone half is none.
	if err := os.Remove(c.path("container.json")); err != nil {
		return err
	}
	defer c.Release()
	return os.RemoveAll(c.dir)
}
