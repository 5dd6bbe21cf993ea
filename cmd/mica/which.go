package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/overlay"
)

func newWhich(std streams) *cobra.Command {
	var f imageFlags
	var format outputFormat
	var whole bool
	cmd := &cobra.Command{
		Use:   "which [flags] IMAGE PATH…",
		Short: "Tell which layers have a path, and what each did there",
		Long: `Which tells where a file comes from: each layer that has PATH, the topmost
first, with what it did there, how large the file has been since, how many of
those bytes nothing shows any more, and the command that made the layer. The
first line is what the image shows, unless it says deleted or hidden: a path
that only lower layers have is told of as well. Symbolic links on the way are
followed, the last one is not. No contents are read.

A path is hidden by the directory above it that was deleted, made opaque or
replaced by something else. One that links to another is a hard link: the
layer holds no bytes for it.`,
		Example: `  mica which debian.tar /usr/bin/python3.11
  mica which oci:/srv/oci:web /etc/passwd /etc/group
  mica which --format json app.tar /usr/bin/app | jq -r '.[0].createdBy'`,
		ValidArgsFunction: f.completeImageThenPaths,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			img, err := f.open(cmd.Context(), args[0], f.show(std.err))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			paths := args[1:]
			versions, err := img.Trace(cmd.Context(), paths)
			if err != nil {
				return &argError{args[0], err}
			}
			failures := &pathErrors{cmd: cmd, stderr: std.err, image: args[0]}
			rows := []whichRow{}
			for i, path := range paths {
				if len(versions[i]) == 0 {
					if err := failures.failed(cmd.Context(), path, errInNoLayer); err != nil {
						return err
					}
				}
				for j := len(versions[i]) - 1; j >= 0; j-- {
					row := newWhichRow(img, path, versions[i][j])
					row.whole, row.terminal = whole, isTerminal(std.out)
					rows = append(rows, row)
				}
			}
			if len(rows) > 0 || format.json() {
				err = printRows(std.out, format, []string{"LAYER", "DIGEST", "DID", "SIZE", "WASTED", "PATH", "CREATED BY"}, rows)
			}
			return errors.Join(err, failures.err())
		},
	}
	f.add(cmd.Flags())
	format.add(cmd.Flags())
	cmd.Flags().BoolVar(&whole, "no-trunc", false, "cut neither digests nor commands")
	return cmd
}

// errInNoLayer says of a path that no layer has it.
var errInNoLayer = inNoLayer{}

type inNoLayer struct{}

func (inNoLayer) Error() string        { return "no layer has it" }
func (inNoLayer) Is(target error) bool { return target == iofs.ErrNotExist }

// A whichRow is what one layer did at a path; sizes are in bytes.
type whichRow struct {
	Path      string        `json:"path"`              // as it was typed
	RawPath   []byte        `json:"rawPath,omitempty"` // base64; only where the path is not UTF-8
	Layer     int           `json:"layer"`             // 1 is the lowest
	Layers    int           `json:"layers"`            // how many the image has
	Digest    digest.Digest `json:"digest"`            // of the layer's blob
	CreatedBy string        `json:"createdBy,omitempty"`
	// Did is "added", "changed", "made opaque", "deleted" or "hidden".
	Did     string `json:"did"`
	By      string `json:"by,omitempty"`      // the directory that hides it
	Implied bool   `json:"implied,omitempty"` // a directory without an entry of its own
	Type    string `json:"type,omitempty"`    // of what is there since
	Size    int64  `json:"size"`
	Target  string `json:"target,omitempty"`  // of a symlink
	LinksTo string `json:"linksTo,omitempty"` // of a hard link
	Shown   bool   `json:"shown"`             // by the image
	Wasted  int64  `json:"wasted"`            // bytes of this layer that nothing shows

	whole, terminal bool
}

func newWhichRow(img *openImage, path string, v overlay.Version) whichRow {
	l := img.Layers()[v.Layer]
	r := whichRow{
		Path: path, Layer: v.Layer + 1, Layers: len(img.Layers()), Digest: digest.Digest(l.Digest), CreatedBy: l.History,
		Did: v.Did.String(), Implied: v.Implied, Size: v.Size, Target: v.Target, Shown: v.Shown, Wasted: v.Wasted,
	}
	if !utf8.ValidString(path) {
		r.RawPath = []byte(path)
	}
	if v.Did == overlay.HiddenAbove {
		r.By = "/" + v.By
	}
	if v.Link != "" {
		r.LinksTo = "/" + v.Link
	}
	if v.Mode != 0 {
		r.Type = typeWord(v.Mode)
	}
	return r
}

func (r whichRow) cells() []string {
	did, name := r.Did, r.Path
	switch {
	case r.By != "":
		did += " with " + r.By
	case r.LinksTo != "":
		did += ", links to " + r.LinksTo
	}
	if r.Target != "" {
		name += " -> " + r.Target
	}
	length := "-"
	if r.Type == "file" {
		length = size(r.Size)
	}
	wasted := "-"
	if r.Wasted > 0 {
		wasted = size(r.Wasted)
	}
	dig, by := string(r.Digest), r.CreatedBy
	if !r.whole {
		dig = shortDigest(dig)
		by = cut(by, r.terminal)
	}
	return []string{fmt.Sprintf("%d/%d", r.Layer, r.Layers), dig, did, length, wasted, name, by}
}
