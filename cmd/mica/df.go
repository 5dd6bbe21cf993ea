package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"mica/container"
	"mica/layerstore/images"
)

func newDF(std streams) *cobra.Command {
	d := &usageTeller{std: std}
	cmd := &cobra.Command{
		Use:   "df [flags]",
		Short: "Tell what takes space in the store",
		Long: `Df tells what images, containers, kept uppers and indexes take on disk, how many
of them are in use, and what could be freed: of images by mica prune --all, of
containers by removing those that do not run, of indexes all, as they are made
again. Standard error has what sharing layers saves. With -v each image has a
line: what it takes alone and what it shares with others.`,
		Example: `  mica df
  mica df -v
  mica df --format json | jq -r '.saved'`,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	d.flags.addRoot(cmd.Flags())
	d.format.add(cmd.Flags())
	cmd.Flags().BoolVarP(&d.verbose, "verbose", "v", false, "tell it of each image")
	return cmd
}

type usageTeller struct {
	std     streams
	flags   imageFlags
	format  outputFormat
	verbose bool
}

// A storeUsage is what "df" prints as JSON. Sizes are in bytes.
type storeUsage struct {
	Kinds  []kindRow    `json:"kinds"`
	Images []imageUsage `json:"images"`
	Saved  int64        `json:"saved"` // what images would take more if none shared a blob
}

// A kindRow is what one kind of things takes.
type kindRow struct {
	Kind        string `json:"kind"`
	Total       int    `json:"total"`
	Active      int    `json:"active"` // that something uses now
	Size        int64  `json:"size"`
	Reclaimable int64  `json:"reclaimable"`
}

func (r kindRow) cells() []string {
	free := size(r.Reclaimable)
	if r.Size > 0 {
		free += fmt.Sprintf(" (%d%%)", r.Reclaimable*100/r.Size)
	}
	return []string{r.Kind, strconv.Itoa(r.Total), strconv.Itoa(r.Active), size(r.Size), free}
}

// An imageUsage is what one image takes.
type imageUsage struct {
	Names  []string `json:"names"`
	ID     string   `json:"digest"`
	Size   int64    `json:"size"`
	Shared int64    `json:"shared"` // of the size, what other images have, too
	Unique int64    `json:"unique"`
	Mounts []string `json:"mounts"`
	// Containers are the names of those that were made of it.
	Containers []string `json:"containers"`
}

func (r imageUsage) cells() []string {
	name := "<none>"
	if len(r.Names) > 0 {
		name = r.Names[0]
	}
	if len(r.Names) > 1 {
		name += fmt.Sprintf(" and %d more", len(r.Names)-1)
	}
	return []string{name, shortDigest(r.ID), size(r.Size), size(r.Shared), size(r.Unique), strconv.Itoa(len(r.Mounts) + len(r.Containers))}
}

func (d *usageTeller) run(cmd *cobra.Command) error {
	s, err := d.flags.images()
	if err != nil {
		return err
	}
	u, err := d.measure(cmd, s)
	if err != nil {
		return storeError(s.Layers(), err)
	}
	switch {
	case d.format.json():
		return printJSON(d.std.out, u)
	case d.verbose:
		err = printRows(d.std.out, d.format, []string{"IMAGE", "DIGEST", "SIZE", "SHARED", "UNIQUE", "USERS"}, u.Images)
		if err == nil {
			_, err = fmt.Fprintln(d.std.out)
		}
	}
	if err == nil {
		err = printRows(d.std.out, d.format, []string{"TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"}, u.Kinds)
	}
	if err == nil && u.Saved > 0 {
		_, err = fmt.Fprintf(d.std.err, "sharing saves %s\n", size(u.Saved))
	}
	return err
}

func (d *usageTeller) measure(cmd *cobra.Command, s *images.Store) (storeUsage, error) {
	u := storeUsage{Images: []imageUsage{}}
	blobs, err := s.Usage()
	if err != nil {
		return u, err
	}
	r := &remover{flags: d.flags, std: d.std}
	used := 0
	for _, one := range blobs.Images {
		row := imageUsage{Names: []string{}, ID: one.Digest.String(), Size: one.Size, Shared: one.Shared, Unique: one.Size - one.Shared, Mounts: []string{}}
		for _, name := range one.Names {
			row.Names = append(row.Names, (images.Named{Name: name}).Familiar())
		}
		users, err := r.usersOf(cmd.Context(), s, one.Digest)
		if err != nil {
			return u, err
		}
		row.Mounts, row.Containers = append(row.Mounts, users.dirs...), append([]string{}, users.containers...)
		if len(row.Mounts)+len(row.Containers) > 0 {
			used++
		}
		u.Images = append(u.Images, row)
	}
	slices.SortStableFunc(u.Images, func(a, b imageUsage) int { return int(b.Unique>>10 - a.Unique>>10) })
	gone, err := s.Collect(cmd.Context(), images.Collection{Dry: true, Without: func(n images.Named) bool {
		return r.refuseUsed(cmd.Context(), s, n.Desc.Digest) == nil
	}})
	if err != nil {
		return u, err
	}
	u.Kinds = append(u.Kinds, kindRow{"Images", len(blobs.Images), used, blobs.Blobs + blobs.Partial, gone.Bytes})
	u.Saved = blobs.Saved
	rows, err := d.others(cmd, s)
	u.Kinds = append(u.Kinds, rows...)
	return u, err
}

// others measures what is beside the images.
func (d *usageTeller) others(cmd *cobra.Command, s *images.Store) ([]kindRow, error) {
	root := s.Layers().Root()
	containers := kindRow{Kind: "Containers"}
	all, err := container.Open(s.Layers()).List(cmd.Context())
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		_, n, err := images.SizeBelow(c.Dir())
		if err != nil {
			return nil, err
		}
		containers.Total++
		if containers.Size += n; c.IsRunning() {
			containers.Active++
		} else {
			containers.Reclaimable += n
		}
	}
	uppers := kindRow{Kind: "Kept uppers"}
	kept, err := filepath.Glob(filepath.Join(root, "uppers", "*"))
	if err != nil {
		return nil, err
	}
	uppers.Total = len(kept)
	if _, uppers.Size, err = images.SizeBelow(filepath.Join(root, "uppers")); err != nil {
		return nil, err
	}
	indexes := kindRow{Kind: "Indexes"}
	for _, dir := range []string{"index", "tree", "proof"} {
		files, n, err := images.SizeBelow(filepath.Join(root, dir))
		if err != nil {
			return nil, err
		}
		if dir == "index" {
			indexes.Total = files
		}
		indexes.Size, indexes.Reclaimable = indexes.Size+n, indexes.Reclaimable+n
	}
	return []kindRow{containers, uppers, indexes}, nil
}
