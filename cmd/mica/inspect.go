package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/layerstore/transport"
)

func newInspect(std streams) *cobra.Command {
	var flags imageFlags
	var raw, config bool
	var kind choice
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [flags] IMAGE|CONTAINER…",
		Short: "Print what an image says of itself, or all about a container",
		Long: `Inspect prints manifest and config of each IMAGE, or what is known of each
CONTAINER, as a JSON array, under the names that docker uses. What is both is a
container. No layer is read.`,
		Example: `  mica inspect debian.tar
  mica inspect oci:/srv/oci:web | jq -r '.[0].Config.Entrypoint'
  mica inspect --raw oci:/srv/oci:web | sha256sum       # is the manifest's digest`,
		Annotations:       map[string]string{checksOperands: "yes"},
		Args:              atLeast(1, "IMAGE"),
		ValidArgsFunction: flags.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && config {
				return &usageError{err: errors.New("either --raw or --config")}
			}
			found := []any{}
			for _, ref := range args {
				if kind.word != "image" && !raw && !config {
					c, err := (&containerFlags{images: flags}).maybe(cmd.Context(), ref, kind.word == "container")
					if err != nil {
						return err
					}
					if c != nil {
						found = append(found, c.Inspect())
						continue
					}
				}
				meta, err := flags.resolveAlone(cmd, ref)
				if err != nil {
					return err
				}
				switch {
				case raw:
					err = printBytes(std, ref, "manifest", meta.RawManifest)
				case config:
					err = printBytes(std, ref, "config", meta.RawConfig)
				default:
					found = append(found, inspect(meta))
				}
				if err := errors.Join(err, meta.Close()); err != nil {
					return err
				}
			}
			if raw || config {
				return nil
			}
			if format != "" && format != "json" {
				return printTemplate(std.out, format, found)
			}
			return printJSON(std.out, found)
		},
	}
	flags.add(cmd.Flags())
	addChoice(cmd.Flags(), &kind, "type", "what is looked for", "any", "image", "container")
	cmd.Flags().StringVarP(&format, "format", "f", "", "print each by a `TEMPLATE` of Go, as '{{.State.Pid}}'")
	cmd.Flags().BoolVar(&raw, "raw", false, "print the manifest, byte for byte")
	cmd.Flags().BoolVar(&config, "config", false, "print the config, byte for byte")
	return cmd
}

// resolveAlone is resolve for a command that wants nothing of the layers.
func (f *imageFlags) resolveAlone(cmd *cobra.Command, ref string) (*transport.Image, error) {
	store, err := f.store()
	if err != nil {
		return nil, err
	}
	show := f.show(cmd.ErrOrStderr())
	defer show.done()
	return f.resolve(cmd.Context(), store, ref, show)
}

// printBytes prints a document of the image as it is.
func printBytes(std streams, ref, what string, b []byte) error {
	if b == nil {
		return &argError{ref, fmt.Errorf("this form of image has no %s", what)}
	}
	_, err := std.out.Write(b)
	return err
}

// An inspected is an image as inspect prints it: docker's names first, then
// what docker does not have.
type inspected struct {
	ID           digest.Digest `json:"Id"` // of the config
	RepoTags     []string
	Created      *time.Time
	Author       string
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	OsVersion    string          `json:",omitempty"`
	Size         int64           // of the blobs as stored, in bytes
	Config       json.RawMessage // what a container of it runs, as the image has it
	RootFS       rootFS

	Source    string        // a reference to just this image
	Digest    digest.Digest `json:",omitempty"` // of the manifest
	MediaType string        `json:",omitempty"`
	Layers    []inspectedLayer
}

type rootFS struct {
	Type   string
	Layers []digest.Digest // diffIDs, of those layers that have one
}

type inspectedLayer struct {
	Digest    digest.Digest `json:",omitempty"`
	DiffID    digest.Digest `json:",omitempty"`
	MediaType string        `json:",omitempty"`
	Size      int64         // as stored, in bytes
}

func inspect(meta *transport.Image) inspected {
	c := meta.Config
	in := inspected{
		ID: meta.ConfigDigest, RepoTags: []string{meta.Name}, Created: c.Created, Author: c.Author,
		Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, OsVersion: c.OSVersion,
		Size: storedSize(meta), Config: json.RawMessage("{}"), RootFS: rootFS{Type: "layers", Layers: []digest.Digest{}},
		Source: meta.Source, Digest: meta.Manifest.Digest, MediaType: meta.Manifest.MediaType, Layers: []inspectedLayer{},
	}
	var raw struct {
		Config json.RawMessage `json:"config"`
	}
	// transport has parsed it already, so that it can only be absent.
	if json.Unmarshal(meta.RawConfig, &raw) == nil && raw.Config != nil {
		in.Config = raw.Config
	}
	for _, l := range meta.Layers {
		if l.DiffID != "" {
			in.RootFS.Layers = append(in.RootFS.Layers, l.DiffID)
		}
		in.Layers = append(in.Layers, inspectedLayer{l.Digest, l.DiffID, l.MediaType, l.Blob.Size()})
	}
	return in
}
