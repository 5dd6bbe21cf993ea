package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/layerstore/blob"
	"mica/layerstore/transport"
	"mica/overlay"
)

func newVerify(std streams) *cobra.Command {
	var f imageFlags
	var format choice
	var quick bool
	cmd := &cobra.Command{
		Use:   "verify [flags] IMAGE",
		Short: "Check an image against its digests, and tell which files damage loses",
		Long: `Verify reads all of IMAGE and checks it: manifest, config and each layer as
stored against its digest, and all that the layers hold against the checksums
that were made when they were first read and proven. Where a layer is damaged
it names the files of the image that cannot be read any more. That takes an
index from before the damage; without one it tells what is wrong first.

Indexes and trees in mica's own store are checked too, and made again if they
are damaged. The exit status is 1 if anything is wrong with the image.`,
		Example: `  mica verify debian.tar
  mica verify --quick oci:/srv/oci:web
  mica verify --format json app.tar | jq -r '.[].lost[].path'`,
		ValidArgsFunction: f.completeImage,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, err := f.store()
			if err != nil {
				return err
			}
			show := f.show(std.err).called("verifying", "verified")
			meta, err := f.resolve(cmd.Context(), store, args[0], show)
			if err != nil {
				show.done()
				return err
			}
			defer func() { err = errors.Join(err, meta.Close()) }()
			v, err := overlay.Verify(cmd.Context(), store, layersOf(meta, store, nil), overlay.VerifyOptions{
				Quick: quick,
				Layer: func(i int, size int64) func(int64) {
					return show.layer(fmt.Sprintf("layer %d/%d", i+1, len(meta.Layers)), size)
				},
			})
			show.done()
			if err != nil {
				return &argError{args[0], storeError(store, err)}
			}
			report := newVerifyReport(meta, v, quick)
			if format.word == "json" {
				err = printJSON(std.out, []*verifyReport{report})
			} else {
				err = report.print(std.out)
			}
			if err == nil && !report.Sound {
				err = &argError{args[0], &damagedError{report}}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&quick, "quick", false, "check digests alone, decode nothing")
	addChoice(flags, &format, "format", "what to print", "text", "json")
	f.add(flags)
	return cmd
}

// A damagedError says that an image is not what it was.
type damagedError struct{ report *verifyReport }

func (e *damagedError) Code() string { return "corrupt" }
func (e *damagedError) Hint() string { return "" }
func (e *damagedError) Error() string {
	var bad []string
	for _, l := range e.report.Layers {
		if !l.sound {
			bad = append(bad, fmt.Sprint(l.Layer))
		}
	}
	var text string
	switch {
	case len(bad) == 0:
		return "its layers do not fit each other"
	case len(bad) == 1:
		text = "layer " + bad[0] + " is damaged"
	default:
		text = "layers " + strings.Join(bad, ", ") + " are damaged"
	}
	if e.report.quick || e.report.Tree == overlay.Absent.String() {
		return text // nobody knows what that costs
	}
	return text + ": " + plural(len(e.report.Lost), "file") + " lost"
}

// A verifyReport is what is known of an image's soundness.
type verifyReport struct {
	Image     string        `json:"image"`
	Sound     bool          `json:"sound"`
	Layers    []verifyLayer `json:"layers"`
	Tree      string        `json:"tree"` // how it was found: "sound", "made", "made again" or "absent"
	TreeError string        `json:"treeError,omitempty"`
	Lost      []verifyLost  `json:"lost"`

	quick bool
}

// A verifyLayer is one layer; offsets are in the uncompressed layer.
type verifyLayer struct {
	Layer  int            `json:"layer"`  // 1 is the lowest
	Digest digest.Digest  `json:"digest"` // that was promised
	Stored int64          `json:"stored"` // bytes
	Index  string         `json:"index"`  // as Tree
	Error  string         `json:"error,omitempty"`
	Damage []verifyDamage `json:"damage"`

	sound bool
}

type verifyDamage struct {
	From  int64  `json:"from"` // first byte that is wrong
	To    int64  `json:"to"`   // behind the last one that cannot be read
	Error string `json:"error"`
}

type verifyLost struct {
	Path    string `json:"path"`
	RawPath []byte `json:"rawPath,omitempty"` // base64; only where the path is not UTF-8
	Layer   int    `json:"layer"`
}

func newVerifyReport(meta *transport.Image, v *overlay.Verdict, quick bool) *verifyReport {
	r := &verifyReport{Image: meta.Name, Sound: v.Sound(), Tree: v.Tree.String(), Layers: []verifyLayer{}, Lost: []verifyLost{}, quick: quick}
	if v.TreeErr != nil {
		r.TreeError = v.TreeErr.Error()
	}
	for i := range v.Layers {
		l := &v.Layers[i]
		row := verifyLayer{
			Layer: i + 1, Digest: meta.Layers[i].Digest, Stored: meta.Layers[i].Blob.Size(), Index: l.Index.String(),
			Damage: []verifyDamage{}, sound: l.Sound(),
		}
		if row.Digest == "" {
			row.Digest = meta.Layers[i].DiffID
		}
		if l.Err != nil {
			row.Error = l.Err.Error()
		}
		for _, d := range l.Damage {
			// That it is this blob and where has been said.
			text := d.Err.Error()
			if data := (*blob.DataError)(nil); errors.As(d.Err, &data) {
				text = data.Err.Error()
			}
			row.Damage = append(row.Damage, verifyDamage{d.Off, d.End, text})
		}
		r.Layers = append(r.Layers, row)
	}
	for _, f := range v.Lost {
		r.Lost = append(r.Lost, verifyLost{Path: "/" + f.Path, RawPath: rawPath(f.Path), Layer: f.Layer + 1})
	}
	return r
}

func (r *verifyReport) print(out io.Writer) error {
	w := bufio.NewWriter(out)
	rows := [][]string{{"LAYER", "DIGEST", "STORED", "INDEX", "CONTENTS"}}
	for _, l := range r.Layers {
		contents := "sound"
		switch {
		case !l.sound:
			contents = "DAMAGED"
		case r.quick:
			contents = "digest right"
		}
		rows = append(rows, []string{fmt.Sprintf("%d/%d", l.Layer, len(r.Layers)), shortDigest(string(l.Digest)), size(l.Stored), l.Index, contents})
	}
	rows = append(rows, []string{"merged", "-", "-", r.Tree, "-"})
	if err := printTable(w, rows); err != nil {
		return err
	}
	for _, l := range r.Layers {
		if l.Error != "" {
			fmt.Fprintf(w, "layer %d/%d: %s\n", l.Layer, len(r.Layers), printable(l.Error))
		}
		for _, d := range l.Damage {
			fmt.Fprintf(w, "layer %d/%d: bytes %d-%d are lost: %s\n", l.Layer, len(r.Layers), d.From, d.To-1, printable(d.Error))
		}
	}
	if r.TreeError != "" {
		fmt.Fprintf(w, "merged: %s\n", printable(r.TreeError))
	}
	for _, f := range r.Lost {
		fmt.Fprintf(w, "lost: %s\n", nameFor(isTerminal(out), f.Path))
	}
	return w.Flush()
}
