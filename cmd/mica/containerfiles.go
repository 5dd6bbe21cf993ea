package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mica/container"
)

// withRoot calls use with the root file system of a container: the one that it
// runs on, its processes standing still meanwhile, or one mounted for as long
// as that takes. Paths in it are to be opened by [container.Container.Open].
func (f *containerFlags) withRoot(ctx context.Context, c *container.Container, std streams, use func() error) (err error) {
	if c.IsRunning() {
		if c.Paused() {
			return use()
		}
		if err := c.Pause(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Unpause(context.WithoutCancel(ctx))) }()
		return use()
	}
	if err := c.TakeCharge(ctx); err != nil {
		return err
	}
	defer c.Release()
	img, err := f.open(ctx, c, std)
	if err != nil {
		return err
	}
	if err := mountContainer(c, img, std); err != nil {
		return err
	}
	return errors.Join(use(), c.Unmount())
}

// containerPath splits NAME:PATH where NAME is a container; else c is nil.
func (f *containerFlags) containerPath(ctx context.Context, word string) (c *container.Container, at string, err error) {
	name, at, ok := strings.Cut(word, ":")
	if !ok || name == "" || strings.ContainsAny(name, "/.") {
		return nil, "", nil
	}
	c, err = f.maybe(ctx, name, false)
	return c, at, err
}

// copyFrom copies out of a container by docker's rules; "-" is a tar.
func (f *containerFlags) copyFrom(ctx context.Context, c *container.Container, from, to string, follow, owners bool, std streams) error {
	return f.withRoot(ctx, c, std, func() error {
		dir, name, isDir, err := openSource(func(p string, flags int) (*os.File, error) { return c.Open(p, flags) }, from, follow)
		if err != nil {
			return err
		}
		defer dir.Close()
		pack := packer(dir, name)
		if to == "-" {
			return runTar(ctx, pack, std.out)
		}
		into, rename, err := copyTarget(func(p string) (bool, error) {
			st, err := os.Stat(p)
			return err == nil && st.IsDir(), err
		}, to, name, isDir)
		if err != nil {
			return err
		}
		at, err := os.Open(into)
		if err != nil {
			return err
		}
		defer at.Close()
		return pipeTars(ctx, pack, unpacker(at, name, rename, owners))
	})
}

// copyInto copies into a container by docker's rules; "-" is a tar.
func (f *containerFlags) copyInto(ctx context.Context, c *container.Container, from, to string, follow, owners bool, std streams) error {
	return f.withRoot(ctx, c, std, func() error {
		stat := func(p string) (bool, error) {
			file, err := c.Open(p, unix.O_PATH)
			if err != nil {
				return false, err
			}
			defer file.Close()
			st, err := file.Stat()
			return err == nil && st.IsDir(), err
		}
		if from == "-" {
			at, err := c.Open(to, unix.O_PATH|unix.O_DIRECTORY)
			if err != nil {
				return err
			}
			defer at.Close()
			un := unpacker(at, "", "", true)
			un.Stdin, un.Stderr = std.in, std.err
			return tarError(un.Run(), "")
		}
		dir, name, isDir, err := openSource(func(p string, flags int) (*os.File, error) { return os.OpenFile(p, flags, 0) }, from, follow)
		if err != nil {
			return err
		}
		defer dir.Close()
		into, rename, err := copyTarget(stat, to, name, isDir)
		if err != nil {
			return err
		}
		at, err := c.Open(into, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer at.Close()
		return pipeTars(ctx, packer(dir, name), unpacker(at, name, rename, owners))
	})
}

// exportContainer writes all files of a container as a tar, without those that are
// mounted into it.
func (f *containerFlags) exportContainer(ctx context.Context, c *container.Container, std streams, w io.Writer) error {
	err := f.withRoot(ctx, c, std, func() error {
		root, err := os.Open(c.Root())
		if err != nil {
			return err
		}
		defer root.Close()
		cmd := packer(root, ".")
		cmd.Args = append([]string{cmd.Args[0], "--one-file-system"}, cmd.Args[1:]...)
		return runTar(ctx, cmd, w)
	})
	if err != nil {
		return &argError{c.Config.Name, err}
	}
	return nil
}

// openSource opens the directory that what is copied is in, and gives its name
// there: "." is what is in the directory itself.
func openSource(open func(p string, flags int) (*os.File, error), from string, follow bool) (dir *os.File, name string, isDir bool, err error) {
	flags := unix.O_PATH
	if !follow && !strings.HasSuffix(from, "/.") {
		flags |= unix.O_NOFOLLOW
	}
	f, err := open(from, flags)
	if err != nil {
		return nil, "", false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, "", false, err
	}
	if copyName(from) == "" {
		dir, err = open(from, unix.O_PATH|unix.O_DIRECTORY)
		return dir, ".", true, err
	}
	dir, err = open(path.Dir(path.Clean(from)), unix.O_PATH|unix.O_DIRECTORY)
	return dir, path.Base(path.Clean(from)), st.IsDir(), err
}

// copyTarget gives the directory to copy into, and the name to have there: by
// the rules of docker cp.
func copyTarget(stat func(p string) (isDir bool, err error), to, name string, fromDir bool) (into, rename string, err error) {
	isDir, err := stat(to)
	switch {
	case err == nil && isDir:
		return to, name, nil
	case err == nil && fromDir:
		return "", "", fmt.Errorf("%s: %w", to, unix.ENOTDIR)
	case err == nil:
		return filepath.Dir(to), filepath.Base(to), nil
	case !errors.Is(err, os.ErrNotExist):
		return "", "", err
	case !fromDir && strings.HasSuffix(to, "/"):
		return "", "", fmt.Errorf("%s: %w", to, unix.ENOENT)
	}
	to = filepath.Clean(to)
	return filepath.Dir(to), filepath.Base(to), nil
}

// packer is a tar(1) that writes what has a name in a directory that is open.
// It goes from descriptor to descriptor, and follows no symlink.
func packer(dir *os.File, name string) *exec.Cmd {
	cmd := exec.Command("tar", "-C", "/proc/self/fd/3", "--create", "--file=-", "--format=posix", "--numeric-owner", "--acls", "--xattrs", "--sparse", "--", name)
	cmd.ExtraFiles = []*os.File{dir}
	return cmd
}

// unpacker is one that unpacks into a directory that is open, under another name
// if the two differ.
func unpacker(dir *os.File, name, rename string, owners bool) *exec.Cmd {
	args := []string{"-C", "/proc/self/fd/3", "--extract", "--file=-", "--numeric-owner", "--preserve-permissions", "--delay-directory-restore"}
	if owners && os.Geteuid() == 0 {
		args = append(args, "--same-owner", "--acls", "--xattrs", "--xattrs-include=*")
	} else {
		args = append(args, "--no-same-owner")
	}
	if name == "." && rename != "." && rename != "" {
		// What is in the directory becomes a new one.
		args = append(args, "--transform=s,^\\.,"+escapeTransform(rename)+",rSH")
	} else if name != rename {
		args = append(args, "--transform=s,^"+escapePattern(name)+","+escapeTransform(rename)+",rSH")
	}
	cmd := exec.Command("tar", args...)
	cmd.ExtraFiles = []*os.File{dir}
	return cmd
}

func escapePattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, ".", `\.`, "*", `\*`, "[", `\[`, "^", `\^`, "$", `\$`, ",", `\,`).Replace(s)
}

func escapeTransform(s string) string {
	return strings.NewReplacer(`\`, `\\`, "&", `\&`, ",", `\,`).Replace(s)
}

// pipeTars has one tar read what another writes.
func pipeTars(ctx context.Context, from, to *exec.Cmd) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	to.Stdin, to.Stderr = r, &said
	err = to.Start()
	r.Close()
	if err != nil {
		w.Close()
		return tarError(err, "")
	}
	err = runTar(ctx, from, w)
	w.Close()
	return errors.Join(err, tarError(to.Wait(), said.String()))
}

func runTar(ctx context.Context, cmd *exec.Cmd, w io.Writer) error {
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = w, &said
	if err := cmd.Start(); err != nil {
		return tarError(err, "")
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	return tarError(cmd.Wait(), said.String())
}

// tarError tells what tar(1) has said.
func tarError(err error, said string) error {
	if err == nil {
		return nil
	}
	if said = strings.TrimSpace(said); said != "" {
		return errors.New(said)
	}
	return fmt.Errorf("tar: %w", err)
}
