package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/overlay"
)

type cpFlags struct {
	imageFlags
	archive, follow, quiet bool
}

func newCp(std streams) *cobra.Command {
	var f cpFlags
	cmd := &cobra.Command{
		Use:   "cp [flags] IMAGE:PATH|CONTAINER:PATH|SOURCE DEST|CONTAINER:PATH",
		Short: "Copy files out of an image, out of a container or into it",
		Long: `Copy a file or a directory with all below it, as docker cp does: into DEST if that
is a directory, else under that name; of a PATH that ends in /. what is in it.
With - for DEST it is written to standard output as a tar, with - for SOURCE
one is read from standard input. A container need not run; one that does
stands still meanwhile. What is copied into one belongs to root unless --archive.

PATH begins with a slash: an image that holds colons itself ends at the last ":/".

Permissions, times, links, holes and devices are kept. What is there is
replaced, directories are added to, and nothing is written through a symbolic
link below DEST.`,
		Example: `  mica cp debian.tar:/etc/os-release .
  mica cp -a oci:/srv/images:web:/usr/share/web /srv/web
  mica cp web:/srv/log . && mica cp site/. web:/srv/site
  mica cp app.tar:/etc/. - | tar -t`,
		Annotations: map[string]string{checksOperands: "yes"},
		Args:        exactly("IMAGE:PATH", "DEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if done, err := f.containers(cmd.Context(), args[0], args[1], std); done {
				return err
			}
			ref, path, err := splitImagePath(args[0])
			if err != nil {
				return err
			}
			return f.run(cmd, std, ref, path, args[1])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.archive, "archive", "a", false, "owners, setuid and setgid, and extended attributes too")
	flags.BoolVarP(&f.follow, "follow-link", "L", false, "if PATH is a symbolic link, copy what it leads to")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	f.add(flags)
	return cmd
}

// containers copies from or to a container, if one is meant.
func (f *cpFlags) containers(ctx context.Context, from, to string, std streams) (done bool, err error) {
	cs := containerFlags{images: f.imageFlags}
	source, path, err := cs.containerPath(ctx, from)
	if err != nil {
		return true, err
	}
	target, at, err := cs.containerPath(ctx, to)
	if err != nil {
		return true, err
	}
	switch {
	case source != nil && target != nil:
		return true, &usageError{err: errors.New("from one container to another: copy to a directory between them")}
	case source != nil && to == "-" && isTerminal(std.out):
		return true, errTarOnTerminal
	case source != nil:
		err = cs.copyFrom(ctx, source, path, to, f.follow, f.archive, std)
	case target != nil:
		err = cs.copyInto(ctx, target, from, at, f.follow, f.archive, std)
		from = to
	default:
		return false, nil
	}
	if err != nil {
		err = &argError{from, err}
	}
	return true, err
}

// splitImagePath splits IMAGE:PATH at the last ":/" that has an image before
// it: in "oci:/srv/images" the colon is that of the transport.
func splitImagePath(arg string) (ref, path string, err error) {
	i := strings.LastIndex(arg, ":/")
	if i > 0 && !isTransport(arg[:i]) {
		return arg[:i], arg[i+1:], nil
	}
	return "", "", &usageError{err: fmt.Errorf("%s: no path in the image: must be IMAGE:/PATH", arg)}
}

// isTransport reports whether a word before a colon says what kind of image
// comes after it.
func isTransport(word string) bool {
	switch word {
	case "oci", "oci-archive", "docker-archive", "dir", "rootfs":
		return true
	}
	return false
}

func (f *cpFlags) run(cmd *cobra.Command, std streams, ref, path, dest string) (err error) {
	if dest == "-" && isTerminal(std.out) {
		return errTarOnTerminal
	}
	if f.quiet {
		f.progress.word = "none"
	}
	ctx := cmd.Context()
	img, err := f.open(ctx, ref, f.show(std.err))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	look := img.Lstat
	if f.follow {
		look = img.Stat
	}
	a, err := look(path)
	if err != nil {
		return &argError{ref, fmt.Errorf("%s: %w", path, err)}
	}
	if dest == "-" {
		name := copyName(path)
		if !isDir(a) && name == "" {
			return &argError{ref, fmt.Errorf("%s: %w", path, overlay.ErrNotDir)}
		}
		return img.WriteTar(ctx, std.out, name, a.ID)
	}
	failures := &pathErrors{cmd: cmd, stderr: std.err, image: ref}
	o := overlay.ExtractOptions{Archive: f.archive, Failed: func(below string, err error) error {
		return failures.failed(ctx, filepath.Join(path, below), err)
	}}
	return errors.Join(copyOut(ctx, img.View, a, path, dest, o), failures.err())
}

// copyName gives the name of a copy of path in a directory, "" where what is
// in path is meant rather than path itself.
func copyName(path string) string {
	if strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") {
		return ""
	}
	return strings.TrimPrefix(filepath.Base(path), "/")
}

// copyOut copies to a destination by the rules of docker cp.
func copyOut(ctx context.Context, v *overlay.View, a overlay.Attr, path, dest string, o overlay.ExtractOptions) error {
	name := copyName(path)
	st, err := os.Stat(dest)
	switch {
	case err == nil && st.IsDir() && name == "":
		return in(dest, func(dir *os.File) error { return v.ExtractInto(ctx, a.ID, dir, o) })
	case err == nil && st.IsDir():
		return in(dest, func(dir *os.File) error { return v.Extract(ctx, a.ID, dir, name, o) })
	case err == nil && isDir(a):
		return fmt.Errorf("%s: %w", dest, overlay.ErrNotDir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case !isDir(a) && strings.HasSuffix(dest, "/"):
		return fmt.Errorf("%s: %w", dest, unix.ENOENT)
	}
	dest = filepath.Clean(dest)
	return in(filepath.Dir(dest), func(dir *os.File) error { return v.Extract(ctx, a.ID, dir, filepath.Base(dest), o) })
}

// in opens a directory for as long as it is used.
func in(path string, use func(dir *os.File) error) error {
	dir, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, unix.ENOENT)
	}
	if err != nil {
		return err
	}
	return errors.Join(use(dir), dir.Close())
}
