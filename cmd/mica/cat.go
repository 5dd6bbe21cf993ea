package main

import (
	"errors"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newCat(std streams) *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:   "cat [flags] IMAGE PATH…",
		Short: "Print files of an image",
		Long: `Print files of an image one after the other. Symbolic links are followed, inside
the image. A path that cannot be read is told of and left out.`,
		Example: `  mica cat debian.tar /etc/os-release
  mica cat oci:/srv/images:web /etc/passwd /etc/group
  mica cat app.tar /usr/bin/app > app`,
		ValidArgsFunction: f.completeImageThenPaths,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			img, err := f.open(ctx, args[0], f.show(std.err))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			failures := &pathErrors{cmd: cmd, stderr: std.err, image: args[0]}
			for _, path := range args[1:] {
				a, err := img.Stat(path)
				switch {
				case err != nil:
				case isDir(a):
					err = unix.EISDIR
				case !isRegular(a):
					err = errors.New("not a regular file")
				default:
					_, err = img.WriteContents(ctx, std.out, a.ID)
				}
				if err != nil {
					if err := failures.failed(ctx, path, err); err != nil {
						return err
					}
				}
			}
			return failures.err()
		},
	}
	f.add(cmd.Flags())
	return cmd
}
