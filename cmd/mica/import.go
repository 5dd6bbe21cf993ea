package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/builder"
	"mica/builder/commit"
	"mica/layerstore/images"
	"mica/layerstore/transport"
)

func newImport(std streams) *cobra.Command {
	i := &importer{std: std}
	cmd := &cobra.Command{
		Use:   "import [flags] ROOTFS [IMAGE]",
		Short: "Make an image of a root filesystem",
		Long: `Import makes an image of one layer in mica's store, and names it IMAGE. ROOTFS is
a tar, compressed or not, which becomes the layer as it is; a directory; or - for
a tar on standard input. Standard output is the ID of the image.

With SOURCE_DATE_EPOCH in the environment, a number of seconds, that is when the
image was made, and no file of a directory is younger.`,
		Example: `  mica export debian:12 | mica import - debian:flat
  debootstrap bookworm root && mica import -c 'CMD ["bash"]' root debian:12
  mica import rootfs.tar.zst base`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := i.run(cmd.Context(), args); err != nil {
				return &argError{args[0], err}
			}
			return nil
		},
	}
	i.addRoot(cmd.Flags())
	i.addProgress(cmd.Flags())
	i.addCommit(cmd.Flags())
	cmd.Flags().BoolVarP(&i.quiet, "quiet", "q", false, "print nothing but the ID")
	return cmd
}

type importer struct {
	imageFlags
	commitFlags
	std   streams
	quiet bool
}

func (i *importer) run(ctx context.Context, args []string) error {
	s, err := i.images()
	if err != nil {
		return err
	}
	if i.quiet {
		i.progress.word = "none"
	}
	name := ""
	if len(args) > 1 {
		name = args[1]
	}
	o, err := i.made(i.std, "import", name)
	if err != nil {
		return err
	}
	from := strings.TrimPrefix(args[0], "rootfs:")
	if from == "-" {
		if isTerminal(i.std.in) {
			return errTarOnTerminal
		}
		return spool(s, i.std.in, func(path string) error { return i.tar(ctx, s, path, o) })
	}
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return i.directory(ctx, s, from, o)
	}
	return i.tar(ctx, s, from, o)
}

// tar takes a file in as it is.
func (i *importer) tar(ctx context.Context, s *images.Store, path string, o commit.Options) (err error) {
	img, err := transport.Open(ctx, "rootfs:"+path, transport.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	show := i.show(i.std.err)
	defer show.done()
	show.called("importing", "imported")
	layer := layersOf(img, s.Layers(), show)[0]
	if err := s.Layers().EnsureIndex(ctx, layer.Spec); err != nil {
		return storeError(s.Layers(), err)
	}
	ix, err := s.Layers().OpenIndex(layer.Spec)
	if err != nil {
		return err
	}
	info := ix.Info()
	if err := ix.Close(); err != nil {
		return err
	}
	img.Layers[0].Digest, img.Layers[0].DiffID = digest.Digest(info.Digest), digest.Digest(info.DiffID)
	base := commit.Base{Image: img, DiffIDs: []digest.Digest{img.Layers[0].DiffID}}
	return i.add(ctx, s, base, nil, o)
}

// directory makes a layer of what is in a directory.
func (i *importer) directory(ctx context.Context, s *images.Store, dir string, o commit.Options) (err error) {
	root, err := builder.OpenRootfs(ctx, dir, o.Note)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	root.NotAfter = o.Epoch
	show := i.show(i.std.err)
	defer show.done()
	show.called("importing", "imported")
	count := show.layer(dir, root.Size())
	return i.add(ctx, s, commit.Base{Image: &transport.Image{}}, func(w io.Writer) (bool, error) {
		return true, root.WriteTar(ctx, &countedWriter{w, count})
	}, o)
}

// countedWriter tells of what is written.
type countedWriter struct {
	io.Writer
	count func(n int64)
}

func (c *countedWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.count(int64(n))
	return n, err
}

func (i *importer) add(ctx context.Context, s *images.Store, base commit.Base, write func(io.Writer) (bool, error), o commit.Options) error {
	r, err := commit.Add(ctx, s, base, write, o)
	if err != nil {
		return storeError(s.Layers(), err)
	}
	_, err = fmt.Fprintln(i.std.out, r.Config.Digest)
	return err
}
