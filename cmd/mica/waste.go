package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/overlay"
)

func newWaste(std streams) *cobra.Command {
	var f imageFlags
	var format choice
	var most string
	var whole bool
	cmd := &cobra.Command{
		Use:   "waste [flags] IMAGE",
		Short: "Tell what in the layers of an image is of no use",
		Long: `Waste tells how many bytes of an image nothing shows any more, because a later
layer deleted or overwrote them, and how many are copies of what the image has
elsewhere: in all, by layer, and by path, the worst first. Sizes are those of
contents, unpacked. Files that share their size with others are read.

With --format json it is an array of one object, in which every file is named.`,
		Example: `  mica waste debian.tar
  mica waste --max 20MB oci:/srv/oci:web     # for CI: exit status 1 if it is more
  mica waste --format json app.tar | jq -r '.[].hidden[].path'`,
		ValidArgsFunction: f.completeImage,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			limit := int64(-1)
			if most != "" {
				if limit, err = units.FromHumanSize(most); err != nil {
					return &usageError{err: fmt.Errorf("--max %s: not a size such as 20MB", most)}
				}
			}
			img, err := f.open(cmd.Context(), args[0], f.show(std.err))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			show := f.show(std.err).called("reading", "read")
			w, err := img.Waste(cmd.Context(), func(total int64) func(int64) { return show.layer("contents", total) })
			show.done()
			if err != nil {
				return &argError{args[0], err}
			}
			report := newWasteReport(img, w)
			report.whole, report.terminal = whole, isTerminal(std.out)
			if format.word == "json" {
				err = printJSON(std.out, []*wasteReport{report})
			} else {
				err = report.print(std.out)
			}
			if err == nil && limit >= 0 && report.Wasted > limit {
				err = &argError{args[0], fmt.Errorf("%s wasted, more than %s", size(report.Wasted), size(limit))}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&most, "max", "", "exit with status 1 if more than `SIZE` is wasted")
	addChoice(flags, &format, "format", "what to print", "text", "json")
	flags.BoolVar(&whole, "no-trunc", false, "cut neither digests nor commands")
	f.add(flags)
	return cmd
}

// A wasteReport is what an image wastes; sizes are in bytes.
type wasteReport struct {
	Image      string           `json:"image"`
	Size       int64            `json:"size"`   // contents of all files in all layers
	Wasted     int64            `json:"wasted"` // of it
	Percent    float64          `json:"percent"`
	Layers     []wasteLayer     `json:"layers"` // the worst first
	Hidden     []wasteHidden    `json:"hidden"`
	Duplicates []wasteDuplicate `json:"duplicates"`

	whole, terminal bool
}

// A wasteLayer is the part of one layer.
type wasteLayer struct {
	Layer      int           `json:"layer"` // 1 is the lowest
	Digest     digest.Digest `json:"digest"`
	CreatedBy  string        `json:"createdBy,omitempty"`
	Hidden     int64         `json:"hidden"`     // deleted or overwritten later
	Duplicates int64         `json:"duplicates"` // copies of what it or a lower layer has
}

// A wasteHidden is a file that the image does not show.
type wasteHidden struct {
	Path    string `json:"path"`
	RawPath []byte `json:"rawPath,omitempty"` // base64; only where the path is not UTF-8
	Size    int64  `json:"size"`
	Layer   int    `json:"layer"`
	By      int    `json:"by"`  // layer that took it away
	Did     string `json:"did"` // "deleted" or "overwritten"

	top string // what was taken away: the file or a directory above it
}

// A wasteDuplicate is contents that several files have.
type wasteDuplicate struct {
	Size   int64       `json:"size"` // of one
	Wasted int64       `json:"wasted"`
	Copies []wasteCopy `json:"copies"`
}

type wasteCopy struct {
	Path    string `json:"path"`
	RawPath []byte `json:"rawPath,omitempty"`
	Layer   int    `json:"layer"`
}

func newWasteReport(img *openImage, w *overlay.Waste) *wasteReport {
	r := &wasteReport{Image: img.meta.Name, Size: w.Size, Hidden: []wasteHidden{}, Duplicates: []wasteDuplicate{}, Layers: []wasteLayer{}}
	for i, l := range img.Layers() {
		r.Layers = append(r.Layers, wasteLayer{Layer: i + 1, Digest: digest.Digest(l.Digest), CreatedBy: l.History})
	}
	for _, h := range w.Hidden {
		did := "overwritten"
		if h.Deleted {
			did = "deleted"
		}
		r.Wasted += h.Size
		r.Layers[h.Layer].Hidden += h.Size
		r.Hidden = append(r.Hidden, wasteHidden{Path: "/" + h.Path, RawPath: rawPath(h.Path), Size: h.Size, Layer: h.Layer + 1, By: h.By + 1, Did: did, top: h.Top})
	}
	for i := range w.Duplicates {
		d := &w.Duplicates[i]
		r.Wasted += d.Wasted()
		// The lowest copy is the one to keep.
		slices.SortStableFunc(d.Copies, func(a, b overlay.Copy) int { return cmp.Compare(a.Layer, b.Layer) })
		j := wasteDuplicate{Size: d.Size, Wasted: d.Wasted()}
		for k, c := range d.Copies {
			if k > 0 {
				r.Layers[c.Layer].Duplicates += d.Size
			}
			j.Copies = append(j.Copies, wasteCopy{Path: "/" + c.Path, RawPath: rawPath(c.Path), Layer: c.Layer + 1})
		}
		r.Duplicates = append(r.Duplicates, j)
	}
	slices.SortStableFunc(r.Layers, func(a, b wasteLayer) int {
		return cmp.Compare(b.Hidden+b.Duplicates, a.Hidden+a.Duplicates)
	})
	r.Percent = 100 * float64(r.Wasted) / float64(max(r.Size, 1))
	return r
}

// rawPath gives a path that JSON cannot hold.
func rawPath(p string) []byte {
	if utf8.ValidString(p) {
		return nil
	}
	return []byte("/" + p)
}

func (r *wasteReport) print(out io.Writer) error {
	w := bufio.NewWriter(out)
	hidden, duplicates := int64(0), int64(0)
	layers := [][]string{{"LAYER", "DIGEST", "HIDDEN", "DUPLICATES", "CREATED BY"}}
	for _, l := range r.Layers {
		hidden += l.Hidden
		duplicates += l.Duplicates
		dig, by := string(l.Digest), l.CreatedBy
		if !r.whole {
			dig, by = shortDigest(dig), cut(by, r.terminal)
		}
		layers = append(layers, []string{fmt.Sprint(l.Layer), dig, size(l.Hidden), size(l.Duplicates), by})
	}
	fmt.Fprintf(w, "%s in %s, %s (%.1f%%) wasted: %s deleted or overwritten, %s of duplicates\n\n",
		size(r.Size), plural(len(r.Layers), "layer"), size(r.Wasted), r.Percent, size(hidden), size(duplicates))
	if err := printTable(w, layers); err != nil {
		return err
	}
	if items := r.items(); len(items) > 0 {
		fmt.Fprintln(w)
		shown := items[:min(len(items), shownWaste)]
		rows := [][]string{{"WASTED", "FILES", "LAYER", "WHY", "PATH"}}
		for _, item := range shown {
			rows = append(rows, item.cells())
		}
		if err := printTable(w, rows); err != nil {
			return err
		}
		rest := int64(0)
		for _, item := range items[len(shown):] {
			rest += item.wasted
		}
		if n := len(items) - len(shown); n > 0 {
			fmt.Fprintf(w, "and %d more of at most %s each, %s together; --format json tells all\n", n, size(items[len(shown)].wasted), size(rest))
		}
	}
	return w.Flush()
}

// shownWaste is how many lines about paths are printed: the worst.
const shownWaste = 25

// A wasteItem is a line about paths: those that were taken away in one go, or
// the copies of one file.
type wasteItem struct {
	wasted int64
	files  int
	layers []int
	why    string
	path   string
}

func (i *wasteItem) cells() []string {
	var layers []string
	for _, l := range i.layers {
		layers = append(layers, fmt.Sprint(l))
	}
	return []string{size(i.wasted), fmt.Sprint(i.files), strings.Join(layers, ","), i.why, i.path}
}

// items puts what was wasted together, the worst first.
func (r *wasteReport) items() []*wasteItem {
	type group struct {
		layer, by int
		did, top  string
	}
	groups := map[group]*wasteItem{}
	var items []*wasteItem
	for _, h := range r.Hidden {
		g := group{h.Layer, h.By, h.Did, "/" + h.top}
		if g.top == h.Path {
			g.top = path.Join(path.Dir(h.Path), "*") // files of one directory, one by one
		}
		item := groups[g]
		if item == nil {
			item = &wasteItem{layers: []int{h.Layer}, why: fmt.Sprintf("%s in %d", h.Did, h.By), path: h.Path}
			groups[g] = item
			items = append(items, item)
		}
		item.wasted += h.Size
		if item.files++; item.files > 1 {
			item.path = g.top
		}
	}
	for _, d := range r.Duplicates {
		item := &wasteItem{wasted: d.Wasted, files: len(d.Copies), why: "duplicates", path: d.Copies[0].Path + " = " + d.Copies[1].Path}
		if n := len(d.Copies) - 2; n > 0 {
			item.path += fmt.Sprintf(" = %d more", n)
		}
		for _, c := range d.Copies {
			if !slices.Contains(item.layers, c.Layer) {
				item.layers = append(item.layers, c.Layer)
			}
		}
		items = append(items, item)
	}
	slices.SortStableFunc(items, func(a, b *wasteItem) int { return cmp.Compare(b.wasted, a.wasted) })
	return items
}
