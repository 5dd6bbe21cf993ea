package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"mica/fs"
)

func newUmount(std streams) *cobra.Command {
	u := &umounter{}
	cmd := &cobra.Command{
		Use:     "umount [flags] DIR…|--all",
		Aliases: []string{"unmount"},
		Short:   "Unmount images",
		Long: `Umount takes away what mica has mounted at each DIR; umount(8) and
fusermount3 -u do as well. Of a mount in use it tells who uses it.`,
		Example: `  mica umount m
  mica umount --lazy m       # out of sight now, gone when its last user has left
  mica umount --all`,
		ValidArgsFunction: u.completeMounted,
		Args:              dirsOrAll(&u.all),
		RunE:              func(cmd *cobra.Command, args []string) error { return u.run(cmd, args, std) },
	}
	u.addRoot(cmd.Flags())
	cmd.Flags().BoolVarP(&u.lazy, "lazy", "l", false, "also if it is in use: its users keep it until they end")
	cmd.Flags().BoolVarP(&u.all, "all", "a", false, "all mounts of this user")
	return cmd
}

// dirsOrAll wants either directories or --all.
func dirsOrAll(all *bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if *all == (len(args) > 0) {
			return errors.New("wants either directories or --all")
		}
		return nil
	}
}

type umounter struct {
	imageFlags
	lazy, all bool
}

// run unmounts as much as it can, and tells of each that it cannot.
func (u *umounter) run(cmd *cobra.Command, dirs []string, std streams) error {
	mounts, err := u.mounts()
	if err != nil {
		return err
	}
	if u.all {
		for _, m := range slices.Backward(mounts) { // the last, which may lie in another, first
			if ownMount(m) {
				dirs = append(dirs, m.Dir)
			}
		}
	}
	var failed []error
	for _, dir := range dirs {
		if err := u.unmount(dir, mounts); err != nil {
			failed = append(failed, err)
		}
	}
	return tellAll(cmd, std, failed)
}

// mounts gives what mica has mounted.
func (f *imageFlags) mounts() ([]fs.Info, error) {
	runtimeDir := ""
	// A user without a home has no store, but may have a look at root's mounts.
	if store, err := f.store(); err == nil {
		runtimeDir = fs.RuntimeDir(store.Root())
	}
	return fs.Mounts(runtimeDir)
}

// ownMount reports whether a mount is served by a process of this user, or by
// one that is not known.
func ownMount(m fs.Info) bool {
	if m.PID == 0 || m.Dead {
		return true
	}
	st, err := os.Stat(fmt.Sprintf("/proc/%d", m.PID))
	return err != nil || int(st.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
}

func (u *umounter) unmount(dir string, mounts []fs.Info) error {
	m, at, err := mountedAt(dir, mounts)
	if err != nil {
		return &argError{dir, err}
	}
	if m.Dead {
		_ = m.Abort() // it is gone soon in any case; without, it may take for ever
	}
	err = fs.Unmount(at, u.lazy)
	if err == nil && !u.lazy && m.Writable() {
		// So that its directories are free and tidy when this returns.
		m.Ended(endingFor)
	}
	if err != nil && !errors.As(err, new(*fs.BusyError)) { // which names the directory
		return &argError{dir, err}
	}
	return err
}

// mountedAt gives the mount at a path as it was typed, of several on top of one
// another the one that is seen, and that path; if it is a link to a mount, where
// that leads.
func mountedAt(dir string, mounts []fs.Info) (m fs.Info, at string, err error) {
	mounted := func(abs string) bool {
		found := false
		for _, one := range mounts {
			if one.Dir == abs {
				m, found = one, true
			}
		}
		return found
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return m, "", err
	}
	// The last element is not looked at: the server of a mount may be dead.
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return m, "", bare(err)
	}
	if mounted(filepath.Join(parent, filepath.Base(abs))) {
		return m, filepath.Clean(dir), nil
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return m, "", bare(err)
	}
	if !mounted(real) {
		return m, "", &notMountedError{}
	}
	return m, real, nil
}

// bare leaves the path out of an error that is told with it anyway.
func bare(err error) error {
	if at := (*iofs.PathError)(nil); errors.As(err, &at) {
		return at.Err
	}
	return err
}

// A notMountedError says that mica has mounted nothing there.
type notMountedError struct{}

func (*notMountedError) Error() string { return "not a mount of mica's" }
func (*notMountedError) Code() string  { return "not-mounted" }
func (*notMountedError) Hint() string  { return "mica mounts" }
