package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/layerstore/toc"
)

func newHistory(std streams) *cobra.Command {
	var flags imageFlags
	var format outputFormat
	var whole, quiet bool
	cmd := &cobra.Command{
		Use:   "history [flags] IMAGE",
		Short: "Show the steps that made an image",
		Long: `History shows the steps that IMAGE was made in, the last first, in docker's
columns. IMAGE is the digest of the layer that a step has made, - where it made
none; SIZE is the layer's unpacked.`,
		Example: `  mica history debian.tar
  mica history --no-trunc oci:/srv/oci:web
  mica history --format json debian.tar | jq -r '.[].createdBy'`,
		ValidArgsFunction: flags.completeImage,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			img, err := flags.open(cmd.Context(), args[0], flags.show(std.err))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			infos, err := img.infos(cmd.Context())
			if err != nil {
				return &argError{args[0], err}
			}
			steps := steps(img, infos)
			for i := range steps {
				steps[i].whole, steps[i].terminal = whole, isTerminal(std.out)
			}
			if quiet {
				return printDigests(std, steps)
			}
			return printRows(std.out, format, []string{"IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"}, steps)
		},
	}
	flags.add(cmd.Flags())
	format.add(cmd.Flags())
	cmd.Flags().BoolVar(&whole, "no-trunc", false, "cut neither digests nor commands")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the digests of the layers alone")
	return cmd
}

// A step is a step of the history as it is printed; Size is in bytes.
type step struct {
	Layer     int           `json:"layer,omitempty"`  // 1 is the lowest; 0 where the step made none
	Digest    digest.Digest `json:"digest,omitempty"` // of the layer's blob
	Created   *time.Time    `json:"created,omitempty"`
	CreatedBy string        `json:"createdBy,omitempty"`
	Author    string        `json:"author,omitempty"`
	Size      int64         `json:"size"`
	Comment   string        `json:"comment,omitempty"`

	whole, terminal bool
}

func (s step) cells() []string {
	created, by := "N/A", s.CreatedBy
	if s.Created != nil {
		created = ago(*s.Created)
	}
	if !s.whole {
		by = cut(by, s.terminal)
	}
	return []string{s.digest(), created, by, size(s.Size), s.Comment}
}

func (s step) digest() string {
	switch {
	case s.Digest == "":
		return "-"
	case s.whole:
		return string(s.Digest)
	}
	return shortDigest(string(s.Digest))
}

func printDigests(std streams, steps []step) error {
	for _, s := range steps {
		if s.Digest == "" {
			continue
		}
		if _, err := fmt.Fprintln(std.out, s.digest()); err != nil {
			return err
		}
	}
	return nil
}

// steps gives the steps of an image, the last first. Where the history tells
// of another count of layers than there are, the layers are the steps.
func steps(img *openImage, infos []toc.Info) []step {
	var all []step
	layer := 0
	for _, h := range img.meta.Config.History {
		s := step{Created: h.Created, CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment}
		if !h.EmptyLayer {
			if layer < len(infos) {
				s.Layer, s.Digest, s.Size = layer+1, digest.Digest(infos[layer].Digest), infos[layer].LayerSize
			}
			layer++
		}
		all = append(all, s)
	}
	if layer != len(infos) {
		all = make([]step, len(infos))
		for i, info := range infos {
			all[i] = step{Layer: i + 1, Digest: digest.Digest(info.Digest), Size: info.LayerSize}
		}
	}
	slices.Reverse(all)
	return all
}
