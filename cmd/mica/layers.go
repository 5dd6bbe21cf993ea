package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/layerstore/toc"
)

func newLayers(std streams) *cobra.Command {
	var flags imageFlags
	var format outputFormat
	var whole bool
	cmd := &cobra.Command{
		Use:   "layers [flags] IMAGE",
		Short: "List the layers of an image",
		Long: `Layers lists the layers of IMAGE, the lowest first: bytes as stored and
unpacked, how many files each holds, how it is compressed whatever its media
type says, and the command that made it.`,
		Example: `  mica layers debian.tar
  mica layers --no-trunc oci:/srv/oci:web
  mica layers --format json debian.tar | jq 'map(.size) | add'`,
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
			rows := layerRows(img, infos)
			for i := range rows {
				rows[i].whole, rows[i].terminal = whole, isTerminal(std.out)
			}
			return printRows(std.out, format, []string{"LAYER", "DIGEST", "STORED", "SIZE", "FILES", "CODEC", "CREATED BY"}, rows)
		},
	}
	flags.add(cmd.Flags())
	format.add(cmd.Flags())
	cmd.Flags().BoolVar(&whole, "no-trunc", false, "cut neither digests nor commands")
	return cmd
}

// A layerRow is a layer as "layers" prints it; sizes are in bytes.
type layerRow struct {
	Number    int           `json:"number"` // 1 is the lowest
	Digest    digest.Digest `json:"digest"` // of the blob
	DiffID    digest.Digest `json:"diffID"` // of what is in it
	MediaType string        `json:"mediaType,omitempty"`
	Codec     string        `json:"codec"` // "tar", "gzip" or "zstd"
	Stored    int64         `json:"stored"`
	Size      int64         `json:"size"`
	Files     int64         `json:"files"`
	Whiteouts int64         `json:"whiteouts"`
	Created   *time.Time    `json:"created,omitempty"`
	CreatedBy string        `json:"createdBy,omitempty"`
	Comment   string        `json:"comment,omitempty"`
	Notes     []string      `json:"notes,omitempty"` // what of the layer is left out, and why

	whole, terminal bool
}

func (r layerRow) cells() []string {
	dig, by := string(r.Digest), r.CreatedBy
	if !r.whole {
		dig = shortDigest(dig)
		by = cut(by, r.terminal)
	}
	return []string{fmt.Sprint(r.Number), dig, size(r.Stored), size(r.Size), fmt.Sprint(r.Files), r.Codec, by}
}

func layerRows(img *openImage, infos []toc.Info) []layerRow {
	rows := make([]layerRow, len(infos))
	for i, info := range infos {
		l := img.meta.Layers[i]
		rows[i] = layerRow{
			Number: i + 1, Digest: digest.Digest(info.Digest), DiffID: digest.Digest(info.DiffID), MediaType: l.MediaType,
			Codec: info.Codec.String(), Stored: info.BlobSize, Size: info.LayerSize, Files: info.Entries, Whiteouts: info.Markers,
			Created: l.Created, CreatedBy: l.History, Comment: l.Comment, Notes: info.Notes,
		}
	}
	return rows
}

// shownCommand is how much of a command a table on a terminal shows, as docker's.
const shownCommand = 45

// cut shortens a command, but not where a program may read it.
func cut(s string, terminal bool) string {
	r := []rune(s)
	if !terminal || len(r) <= shownCommand {
		return s
	}
	return string(r[:shownCommand-1]) + "…"
}
