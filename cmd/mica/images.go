package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/layerstore/images"
	"mica/layerstore/transport"
)

func newImages(std streams) *cobra.Command {
	l := &imageLister{std: std}
	cmd := &cobra.Command{
		Use:   "images [flags] [NAME]",
		Short: "List the images of the store",
		Long: `Images lists what is in mica's store, in docker's columns: of all images, or of
those whose repository is NAME, which may have * and ?. SIZE is unpacked where
the layers are indexed, which pull and load see to; else as stored. <none> has
lost its name to another image, or never had one.

With --tree an image stands below that whose layers it begins with: a base image
has others on it, an intermediate one besides stands on one itself, a final one
has none on it. Layers that several images begin with and no image ends with have
a line of their own.`,
		Example: `  mica images
  mica images --filter dangling=true -q
  mica images --tree
  mica images --format json | jq -r '.[].reference'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				l.repository = args[0]
			}
			return l.run(cmd)
		},
	}
	l.flags.addRoot(cmd.Flags())
	l.flags.addPlatform(cmd.Flags())
	l.format.add(cmd.Flags())
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "print IDs alone")
	cmd.Flags().BoolVarP(&l.all, "all", "a", false, "list the images that builds have come by, too")
	cmd.Flags().BoolVar(&l.digests, "digests", false, "show the digests of the manifests too")
	cmd.Flags().BoolVar(&l.asTree, "tree", false, "show which image is built on which, and what layers they share")
	cmd.Flags().BoolVar(&l.whole, "no-trunc", false, "do not cut IDs")
	cmd.Flags().StringArrayVarP(&l.filters, "filter", "f", nil, "list those that `KEY=VALUE` fits: dangling=true|false, reference=PATTERN, label=KEY[=VALUE]")
	return cmd
}

type imageLister struct {
	std        streams
	flags      imageFlags
	format     outputFormat
	repository string
	filters    []string

	quiet, all, digests, whole, asTree bool
}

// An imageRow is an image as "images" prints it.
type imageRow struct {
	Reference  string            `json:"reference,omitempty"`
	Repository string            `json:"repository"`
	Tag        string            `json:"tag"`
	ID         digest.Digest     `json:"id"`     // of the config; of the index where no platform fits
	Digest     digest.Digest     `json:"digest"` // of the manifest or index
	Created    *time.Time        `json:"created,omitempty"`
	Size       int64             `json:"size"`   // unpacked, in bytes, as far as is known
	Stored     int64             `json:"stored"` // the blobs, in bytes
	Layers     []digest.Digest   `json:"layers"`
	Labels     map[string]string `json:"labels,omitempty"`

	stack          []stackLayer
	digests, whole bool
}

func (r imageRow) cells() []string {
	id, created := r.ID.String(), "N/A"
	if !r.whole {
		id = shortDigest(id)
	}
	if r.Created != nil {
		created = ago(*r.Created)
	}
	cells := []string{r.Repository, r.Tag, id, created, size(r.Size)}
	if r.digests {
		cells = slices.Insert(cells, 2, r.Digest.String())
	}
	return cells
}

func (l *imageLister) run(cmd *cobra.Command) error {
	s, err := l.flags.images()
	if err != nil {
		return err
	}
	keep, err := l.filter()
	if err != nil {
		return err
	}
	named, err := s.List()
	if err != nil {
		return storeError(s.Layers(), err)
	}
	rows := []imageRow{}
	for _, n := range named {
		if n.Intermediate() && !l.all {
			continue
		}
		if r := l.row(cmd, s, n); keep(r) {
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b imageRow) int {
		switch {
		case a.Created == nil || b.Created == nil:
			return 0
		}
		return b.Created.Compare(*a.Created)
	})
	if l.quiet {
		return l.ids(rows)
	}
	if l.asTree {
		return l.tree(rows)
	}
	head := []string{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"}
	if l.digests {
		head = slices.Insert(head, 2, "DIGEST")
	}
	return printRows(l.std.out, l.format, head, rows)
}

func (l *imageLister) ids(rows []imageRow) error {
	for _, r := range rows {
		id := r.ID.String()
		if !l.whole {
			id = shortDigest(id)
		}
		if _, err := fmt.Fprintln(l.std.out, id); err != nil {
			return err
		}
	}
	return nil
}

// row looks an image up. One that is damaged is listed too: it must be seen to
// be removed.
func (l *imageLister) row(cmd *cobra.Command, s *images.Store, n images.Named) imageRow {
	r := imageRow{Reference: n.Familiar(), ID: n.Desc.Digest, Digest: n.Desc.Digest, digests: l.digests, whole: l.whole, Layers: []digest.Digest{}}
	r.Repository, r.Tag = n.Repository()
	meta, err := transport.Open(cmd.Context(), "oci:"+s.Dir()+"@"+n.Desc.Digest.String(), transport.Options{Platform: l.flags.platform})
	if err != nil {
		return r
	}
	defer meta.Close()
	r.ID, r.Created, r.Labels = meta.ConfigDigest, meta.Config.Created, meta.Config.Config.Labels
	for i, spec := range layersOf(meta, s.Layers(), nil) {
		unpacked := spec.Blob.Size()
		if ix, err := s.Layers().OpenIndex(spec.Spec); err == nil {
			unpacked = ix.Info().LayerSize
			ix.Close()
		}
		r.Size, r.Stored = r.Size+unpacked, r.Stored+spec.Blob.Size()
		r.Layers = append(r.Layers, meta.Layers[i].Digest)
		r.stack = append(r.stack, stackLayer{meta.Layers[i].DiffID, unpacked})
	}
	return r
}

// filter gives what says whether a row is to be listed.
func (l *imageLister) filter() (func(imageRow) bool, error) {
	var tests []func(imageRow) bool
	if l.repository != "" {
		tests = append(tests, func(r imageRow) bool { return matches(l.repository, r) })
	}
	for _, f := range l.filters {
		key, value, ok := strings.Cut(f, "=")
		switch {
		case ok && key == "dangling" && (value == "true" || value == "false"):
			tests = append(tests, func(r imageRow) bool { return (r.Reference == "") == (value == "true") })
		case ok && key == "reference":
			tests = append(tests, func(r imageRow) bool { return matches(value, r) })
		case ok && key == "label":
			name, want, valued := strings.Cut(value, "=")
			tests = append(tests, func(r imageRow) bool {
				have, ok := r.Labels[name]
				return ok && (!valued || have == want)
			})
		default:
			return nil, &usageError{err: fmt.Errorf("no such filter: %s", f), hint: "dangling=true|false, reference=PATTERN, label=KEY[=VALUE]"}
		}
	}
	if _, err := path.Match(l.repository, ""); err != nil {
		return nil, &usageError{err: errors.New("bad pattern " + l.repository)}
	}
	return func(r imageRow) bool {
		return !slices.ContainsFunc(tests, func(fits func(imageRow) bool) bool { return !fits(r) })
	}, nil
}

// matches compares a pattern with a repository, with and without its tag.
func matches(pattern string, r imageRow) bool {
	for _, name := range []string{r.Repository, r.Repository + ":" + r.Tag} {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}
