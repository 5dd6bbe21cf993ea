package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newIndex(std streams) *cobra.Command {
	var flags imageFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "index [flags] IMAGE…",
		Short: "Index images ahead of their first use",
		Long: `Index does what the first mount of each IMAGE would do: it reads the layers
once, checks their digests, and keeps where in them each file lies. It tells
what that has cost; READ is 0B of what was indexed before.`,
		Example: `  mica index debian.tar
  mica index --progress plain oci:/srv/oci:web oci:/srv/oci:db
  mica index --format json debian.tar | jq '.[0].indexSize'`,
		ValidArgsFunction: flags.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			var rows []indexRow
			for _, ref := range args {
				row, err := flags.index(cmd.Context(), ref, flags.show(std.err))
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
			return printRows(std.out, format, []string{"IMAGE", "LAYERS", "STORED", "READ", "TIME", "FILES", "INDEX"}, rows)
		},
	}
	flags.add(cmd.Flags())
	format.add(cmd.Flags())
	return cmd
}

// An indexRow is what the index of an image has cost; sizes are in bytes.
type indexRow struct {
	Image     string  `json:"image"`
	Layers    int     `json:"layers"`
	Stored    int64   `json:"stored"` // the layers' blobs
	Read      int64   `json:"read"`   // of them, now
	Seconds   float64 `json:"seconds"`
	Files     int     `json:"files"` // in the merged tree, directories and all
	IndexSize int64   `json:"indexSize"`

	took string
}

func (r indexRow) cells() []string {
	share := 100 * float64(r.IndexSize) / float64(max(r.Stored, 1))
	return []string{r.Image, fmt.Sprint(r.Layers), size(r.Stored), size(r.Read), r.took, fmt.Sprint(r.Files),
		fmt.Sprintf("%s (%.2f%%)", size(r.IndexSize), share)}
}

func (f *imageFlags) index(ctx context.Context, ref string, show *progress) (indexRow, error) {
	img, err := f.open(ctx, ref, show)
	if err != nil {
		return indexRow{}, err
	}
	read, took := show.total()
	row := indexRow{Image: img.meta.Name, Layers: len(img.meta.Layers), Stored: storedSize(img.meta), Read: read,
		Seconds: took.Seconds(), Files: img.Inodes(), IndexSize: indexSize(img), took: seconds(took)}
	return row, img.Close()
}
