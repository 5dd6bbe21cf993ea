package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mica/builder/commit"
	"mica/overlay/change"
)

func newEdit(std streams) *cobra.Command {
	e := &editor{std: std}
	e.wither.std, e.wither.rw = std, true
	cmd := &cobra.Command{
		Use:   "edit [flags] IMAGE [--] [COMMAND…]",
		Short: "Change an image like a directory",
		Long: `Edit runs COMMAND, or a shell, in the root directory of IMAGE as with --rw does,
and makes an image of what it has changed, if it ends with 0: with that change as
one more layer, under the name of --tag. The programs are this machine's, and not
the image's. Standard output is that of COMMAND, then the ID of the image.`,
		Example: `  mica edit -t small:12 debian:12                   # a shell in its root directory
  mica edit -t small:12 debian:12 -- rm -r usr/share/doc
  mica edit -t web:2 -c 'USER www-data' web:1 -- cp ~/index.html srv/www/`,
		ValidArgsFunction: e.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.run(cmd.Context(), args[0], withoutDashes(args[1:]))
		},
	}
	flags := cmd.Flags()
	e.addMount(flags)
	e.addCommit(flags)
	flags.StringVarP(&e.tag, "tag", "t", "", "name the new image `NAME`")
	flags.BoolVarP(&e.quiet, "quiet", "q", false, "print no ID")
	return cmd
}

// An editor makes an image of what a command changes in one.
type editor struct {
	wither
	commitFlags
	std   streams
	tag   string
	quiet bool
}

func (e *editor) run(ctx context.Context, image string, command []string) error {
	if e.tag == "" {
		return &usageError{err: errors.New("--tag is missing: the name of the new image")}
	}
	c := &committer{commitFlags: e.commitFlags, std: e.std}
	c.imageFlags = e.imageFlags
	o, err := c.options(e.tag)
	if err != nil {
		return err
	}
	o.CreatedBy = "mica edit " + strings.Join(command, " ")
	if len(command) == 0 {
		command, o.CreatedBy = shell(), "mica edit"
	}
	return e.see(ctx, image, command, func(img *openImage, s *sight) error { return e.commit(ctx, c, img, s, o) })
}

// shell is the user's.
func shell() []string { return []string{first(os.Getenv("SHELL"), "/bin/sh")} }

// commit makes the image, once the mount is gone.
func (e *editor) commit(ctx context.Context, c *committer, img *openImage, s *sight, o commit.Options) (err error) {
	marks, err := s.upper.Marks()
	if err != nil {
		return err
	}
	tree, err := change.Open(s.upper.Upper, marks, img.View)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	r, err := c.commit(ctx, &changed{Tree: tree, img: img}, o)
	if err != nil || e.quiet {
		return err
	}
	_, err = fmt.Fprintln(e.std.out, r.Config.Digest)
	return err
}
