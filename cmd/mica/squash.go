package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mica/builder/commit"
	"mica/layerstore/images"
	"mica/layerstore/transport"
	"mica/overlay"
)

func newSquash(std streams) *cobra.Command {
	q := &squasher{std: std}
	cmd := &cobra.Command{
		Use:   "squash [flags] IMAGE [NAME]",
		Short: "Make an image of one layer that has the same files",
		Long: `Squash makes an image in mica's store whose one layer has all files of IMAGE as
they are after its last layer, without what was deleted or replaced on the way,
and names it NAME. The config stays, but for the history. The same image gives
the same layer. Standard output is the ID of the image.`,
		Example: `  mica squash web:1 web:flat
  mica squash --compression zstd:9 debian.tar small
  mica squash --at 3 web:1 web:base`,
		ValidArgsFunction: q.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 1 {
				name = args[1]
			}
			return q.run(cmd.Context(), args[0], name)
		},
	}
	q.imageFlags.add(cmd.Flags())
	cmd.Flags().StringVar(&q.part.at, "at", "", "squash the image as it was after layer `LAYER`: its number as in mica history,\n-1 for all but the top one, or a pattern of the command that made it")
	q.addCommit(cmd.Flags())
	cmd.Flags().BoolVarP(&q.quiet, "quiet", "q", false, "print nothing but the ID")
	return cmd
}

type squasher struct {
	imageFlags
	commitFlags
	std   streams
	quiet bool
}

func (q *squasher) run(ctx context.Context, ref, name string) (err error) {
	if q.quiet {
		q.progress.word = "none"
	}
	o, err := q.made(q.std, "squash", name)
	if err != nil {
		return err
	}
	img, err := q.open(ctx, ref, q.show(q.std.err))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	show := q.show(q.std.err)
	defer show.done()
	show.called("squashing", "squashed")
	var size int64
	infos, err := img.infos(ctx)
	if err != nil {
		return &argError{ref, err}
	}
	for _, info := range infos {
		size += info.LayerSize
	}
	count := show.layer("image", size)
	s := images.Open(img.store)
	base := commit.Base{Image: &transport.Image{RawConfig: img.meta.RawConfig}}
	r, err := commit.Add(ctx, s, base, func(w io.Writer) (bool, error) {
		return true, img.WriteTar(ctx, &countedWriter{w, count}, "", overlay.Root)
	}, o)
	if err != nil {
		return &argError{ref, storeError(s.Layers(), err)}
	}
	_, err = fmt.Fprintln(q.std.out, r.Config.Digest)
	return err
}
