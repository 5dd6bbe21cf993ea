package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/diff"
)

func newReset(std streams) *cobra.Command {
	r := &resetter{std: std}
	cmd := &cobra.Command{
		Use:   "reset [flags] DIR [PATH…]",
		Short: "Undo what was changed at a mount",
		Long: `Reset makes the writable mount at DIR, or what is at each PATH in it, what it is in
the image: what was added is deleted, what was deleted or changed is copied from
the image. The mount stays, and programs see it happen; a file that one of them
has open is that one's until it is closed.`,
		Example: `  mica reset m                  # all of it
  mica reset m /etc/passwd /srv
  mica diff m`,
		ValidArgsFunction: func(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return r.completeChanged(word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd, args[0], args[1:])
		},
	}
	r.imageFlags.add(cmd.Flags())
	r.addImage(cmd.Flags())
	return cmd
}

// A resetter undoes changes through the mount, so that the kernel and the server
// know of it.
type resetter struct {
	changedFlags
	std streams

	root  *os.File
	img   *openImage
	first map[any]string // where a file of the image with several names was copied to
	dirs  []diff.Change  // whose metadata is to be put back at the end
}

func (r *resetter) run(cmd *cobra.Command, dir string, paths []string) (err error) {
	mounts, err := r.mounts()
	if err != nil {
		return err
	}
	if _, _, err := mountedAt(dir, mounts); err != nil {
		return &argError{dir, err}
	}
	c, err := r.openChanged(cmd.Context(), r.std, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	changes, err := listChanges(cmd, c.Tree, 0)
	if err != nil {
		return &argError{dir, err}
	}
	wanted, err := within(changes, paths)
	if err != nil {
		return err
	}
	if r.root, err = os.Open(dir); err != nil {
		return err
	}
	defer r.root.Close()
	r.img, r.first = c.img, map[any]string{}
	for i := range wanted {
		if err := r.undo(cmd.Context(), &wanted[i]); err != nil {
			return &argError{dir, fmt.Errorf("/%s: %w", wanted[i].Path, err)}
		}
	}
	for _, d := range slices.Backward(r.dirs) {
		if err := r.likeImage(&d); err != nil {
			return &argError{dir, fmt.Errorf("/%s: %w", d.Path, err)}
		}
	}
	return nil
}

// within gives the changes at some paths and below them; without paths all.
func within(changes []diff.Change, paths []string) (list []diff.Change, err error) {
	if len(paths) == 0 {
		return changes, nil
	}
	for _, p := range paths {
		at, n := strings.TrimPrefix(path.Clean("/"+p), "/"), len(list)
		for _, c := range changes {
			if at == "" || c.Path == at || strings.HasPrefix(c.Path, at+"/") {
				list = append(list, c)
			}
		}
		if n == len(list) {
			return nil, &argError{p, &notFoundError{"is as in the image"}}
		}
	}
	slices.SortFunc(list, func(a, b diff.Change) int { return comparePaths(a.Path, b.Path) })
	return slices.CompactFunc(list, func(a, b diff.Change) bool { return a.Path == b.Path }), nil
}

func isDirectory(f *diff.File) bool { return f != nil && f.Mode&unix.S_IFMT == unix.S_IFDIR }

// undo makes a path what it is in the image, but for the metadata of a directory.
func (r *resetter) undo(ctx context.Context, c *diff.Change) error {
	if c.From != nil && isDirectory(c.From) && isDirectory(c.To) {
		r.dirs = append(r.dirs, *c)
		return nil
	}
	parent, name := path.Split(c.Path)
	in, err := openBelow(r.root, parent)
	if errors.Is(err, unix.ENOENT) && c.From == nil {
		return nil // gone with the directory that it was in
	}
	if err != nil {
		return err
	}
	defer in.Close()
	return keepingTimes(in, func() error {
		at := filepath.Join(procFD(in), name)
		if c.To != nil {
			if err := os.RemoveAll(at); err != nil {
				return bare(err)
			}
		}
		if c.From == nil {
			return nil
		}
		if was, ok := r.first[c.From.Ref]; ok {
			return unix.Linkat(int(r.root.Fd()), was, int(in.Fd()), name, 0)
		}
		if !isDirectory(c.From) {
			r.first[c.From.Ref] = c.Path
		}
		return r.img.Extract(ctx, c.From.Ref.(overlay.NodeID), in, name, overlay.ExtractOptions{Archive: true})
	})
}

func procFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// openBelow opens a directory below another one, following no symlinks.
func openBelow(root *os.File, rel string) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), path.Clean("./"+rel), &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), rel), nil
}

// keepingTimes calls change for a directory, whose times stay what they were: if
// they were changed before that is undone with the rest of its metadata.
func keepingTimes(dir *os.File, change func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procFD(dir), []unix.Timespec{st.Atim, st.Mtim}, 0)
}

// likeImage gives a directory the metadata that it has in the image.
func (r *resetter) likeImage(c *diff.Change) error {
	d, err := openBelow(r.root, c.Path)
	if err != nil {
		return err
	}
	defer d.Close()
	fd, f := int(d.Fd()), c.From
	if c.What&diff.Owner != 0 {
		if err := unix.Fchown(fd, int(f.UID), int(f.GID)); err != nil {
			return err
		}
	}
	for _, x := range c.To.Xattrs {
		if err := unix.Fremovexattr(fd, x.Name); err != nil && err != unix.ENODATA {
			return err
		}
	}
	for _, x := range f.Xattrs {
		if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(fd, f.Mode&0o7777); err != nil {
		return err
	}
	ts := unix.Timespec{Sec: f.Mtime.Sec, Nsec: int64(f.Mtime.Nsec)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procFD(d), []unix.Timespec{ts, ts}, 0)
}
