package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mica/overlay"
	"mica/overlay/find"
)

func newFind(std streams) *cobra.Command {
	f := &searched{}
	cmd := &cobra.Command{
		Use:   "find [flags] [IMAGE] [PATH…] [EXPRESSION…]",
		Short: "Search the files of images",
		Long: `Search the files of an image as find(1) does; PATH is / unless given. With --all,
instead of IMAGE, or --image, several are searched, and paths are told after
IMAGE: of theirs. What follows IMAGE is find(1)'s own language:

  tests      -name GLOB  -iname GLOB  -path GLOB  -ipath GLOB  -type [bcdflp],…
             -size [+-]N[cwbkMG]  -empty  -perm [-/]MODE  -links [+-]N  -inum [+-]N
             -user NAME  -group NAME  -uid [+-]N  -gid [+-]N  -mtime [+-]N  -newer PATH
  operators  ( X )  ! X  X Y  X -o Y
  actions    -print  -print0  -ls  -prune
  bounds     -mindepth N  -maxdepth N

Names of users and groups, and the path of -newer, are those of the image.`,
		Example: `  mica find debian.tar -perm /6000 -type f -ls
  mica find oci:/srv/images:web /etc -name '*.conf' -size +4k
  mica find app.tar / '(' -name '*.pyc' -o -name __pycache__ ')' -print0 | xargs -0 -n1
  mica find --all / -name 'log4j-core-*.jar'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !f.all {
				return errors.New("IMAGE missing")
			}
			return nil
		},
		ValidArgsFunction: f.completeImageThenPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") {
				return cmd.Help()
			}
			return f.run(cmd, std, args)
		},
	}
	// With IMAGE begins another language, in which -name is no flag.
	cmd.Flags().SetInterspersed(false)
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "search all images of the store")
	cmd.Flags().StringArrayVar(&f.more, "image", nil, "search `IMAGE`, too (repeatable)")
	return cmd
}

// searched says which images are searched.
type searched struct {
	imageFlags
	all  bool
	more []string
}

func (f *searched) run(cmd *cobra.Command, std streams, args []string) error {
	typed := f.more
	if !f.all {
		typed, args = append([]string{args[0]}, typed...), args[1:]
	}
	refs, err := f.imagesOf(typed, f.all)
	if err != nil {
		return err
	}
	return f.eachImage(cmd, std, refs, func(ctx context.Context, ref string, img *openImage) error {
		prefix := ""
		if f.all || len(refs) > 1 {
			prefix = ref + ":"
		}
		return runFind(ctx, cmd, std, ref, prefix, img, args)
	})
}

// runFind searches one image. Its paths are told after the prefix.
func runFind(ctx context.Context, cmd *cobra.Command, std streams, ref, prefix string, img *openImage, args []string) (err error) {
	failures := &pathErrors{cmd: cmd, stderr: std.err, image: ref}
	p := finder{view: img.View, w: bufio.NewWriterSize(std.out, 1<<16), terminal: isTerminal(std.out), prefix: prefix, now: time.Now()}
	if slices.ContainsFunc(args, func(arg string) bool { return arg == "-ls" || arg == "-user" || arg == "-group" }) {
		if p.names, err = failures.owners(ctx, img.View); err != nil {
			return err
		}
	}
	q, err := find.Parse(args, find.Env{Tree: img.Tree, Now: p.now, User: p.names.uid, Group: p.names.gid})
	switch {
	case errors.As(err, new(*find.SyntaxError)):
		return &usageError{err: err}
	case err != nil:
		return &argError{ref, err}
	}
	for _, path := range q.Paths {
		err := q.Run(path, func(a find.Action, v *overlay.Visit) error {
			return errors.Join(ctx.Err(), p.act(a, v))
		})
		if prefix != "" && errors.Is(err, iofs.ErrNotExist) {
			continue // not all images have it
		}
		if err != nil {
			if err := failures.failed(ctx, path, err); err != nil {
				return err
			}
		}
	}
	return errors.Join(p.w.Flush(), failures.err())
}

// A finder does what find is to do with what it finds.
type finder struct {
	view     *overlay.View
	w        *bufio.Writer
	names    owners
	terminal bool
	prefix   string // of paths
	now      time.Time
}

func (p *finder) act(a find.Action, v *overlay.Visit) error {
	switch a {
	case find.Print0:
		p.w.WriteString(p.prefix + v.Path)
		return p.w.WriteByte(0)
	case find.List:
		return p.list(v)
	}
	p.w.WriteString(p.prefix + nameFor(p.terminal, v.Path))
	return p.w.WriteByte('\n')
}

// list prints a line as find -ls does: inode, KiB, and what ls -l has.
func (p *finder) list(v *overlay.Visit) error {
	a := v.Attr
	size := fmt.Sprintf("%8d", a.Size)
	if isDevice(a) {
		major, minor := a.Device()
		size = fmt.Sprintf("%3d, %3d", major, minor)
	}
	text := p.prefix + nameFor(p.terminal, v.Path)
	if isSymlink(a) {
		target, err := p.view.Readlink(a.ID)
		if err != nil {
			return err
		}
		text += " -> " + nameFor(p.terminal, target)
	}
	_, err := fmt.Fprintf(p.w, "%9d %6d %s %3d %-8s %-8s %s %s %s\n", uint64(a.ID), (a.Blocks+1)/2, modeString(a.Mode), a.Nlink,
		p.names.user(a.UID), p.names.group(a.GID), size, listTime(a.Mtime.Time(), p.now), text)
	return err
}
