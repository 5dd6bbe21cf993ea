package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"mica/overlay"
)

func newExport(std streams) *cobra.Command {
	var f imageFlags
	var file string
	cmd := &cobra.Command{
		Use:   "export [flags] IMAGE|CONTAINER",
		Short: "Write the files of an image or a container as one tar",
		Long: `Write the files of an image, all layers merged, or those of a container as it is
now, as one tar that any tar unpacks: owners, times to the nanosecond, extended
attributes, hard links, devices and holes included. The same image always gives
the same bytes.`,
		Example: `  mica export debian.tar -o rootfs.tar
  mica export oci:/srv/images:web | tar -x -C rootfs --xattrs --xattrs-include='*' --numeric-owner
  mica export app.tar | docker import - app:flat`,
		Annotations:       map[string]string{checksOperands: "yes"},
		Args:              exactly("IMAGE"),
		ValidArgsFunction: f.completeImage,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if file == "" || file == "-" {
				if isTerminal(std.out) {
					return errTarOnTerminal
				}
			}
			ctx := cmd.Context()
			cs := containerFlags{images: f}
			if c, err := cs.maybe(ctx, args[0], false); err != nil || c != nil {
				if err != nil {
					return err
				}
				write := func(w io.Writer) error { return cs.exportContainer(ctx, c, std, w) }
				if file == "" || file == "-" {
					return write(std.out)
				}
				return writeFile(file, write)
			}
			img, err := f.open(ctx, args[0], f.show(std.err))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			write := func(w io.Writer) error { return img.WriteTar(ctx, w, "", overlay.Root) }
			if file == "" || file == "-" {
				return write(std.out)
			}
			return writeFile(file, write)
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to `FILE` rather than to standard output")
	f.add(cmd.Flags())
	return cmd
}

var errTarOnTerminal = &usageError{
	err:  errors.New("a tar is not for a terminal"),
	hint: "-o FILE, or a pipe",
}

// writeFile writes a file that is there whole or not at all: under another
// name first, unless what has the name is a device or a pipe.
func writeFile(name string, write func(io.Writer) error) (err error) {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	partial := name + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(partial)
		}
	}()
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(partial, name)
}
