package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mica/builder"
	"mica/layerstore/images"
	"mica/layerstore/transport"
	"mica/overlay"
)

// A buildOutput is where the result of a build goes besides the store.
type buildOutput struct {
	kind   string // docker, oci, tar or local
	dest   string
	stdout bool
	std    streams
}

// parseOutput reads --output: type=…,dest=…, or a directory, as docker has it.
func parseOutput(text string, std streams) (*buildOutput, error) {
	if text == "" {
		return nil, nil
	}
	o := &buildOutput{kind: "local", dest: text, std: std}
	if strings.Contains(text, "=") {
		o.kind, o.dest = "", ""
		for _, field := range strings.Split(text, ",") {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "type":
				o.kind = value
			case "dest", "destination":
				o.dest = value
			default:
				return nil, &usageError{err: fmt.Errorf("--output %s: no key %q (has: type, dest)", text, key)}
			}
		}
	} else if text == "-" {
		o.kind = "tar"
	}
	switch o.kind {
	case "image":
		return nil, nil // it is in the store anyway
	case "docker", "oci", "tar", "local":
	default:
		return nil, &usageError{err: fmt.Errorf("--output %s: no type %q (has: docker, oci, tar, local)", text, o.kind)}
	}
	if o.stdout = o.dest == "" || o.dest == "-"; o.stdout && o.kind == "local" {
		return nil, &usageError{err: errors.New("--output type=local needs dest=DIR")}
	}
	if o.stdout && isTerminal(std.out) {
		return nil, errTarOnTerminal
	}
	return o, nil
}

// write writes the image that was built.
func (o *buildOutput) write(ctx context.Context, b *imageBuilder, store *images.Store, res *builder.Result, names []string) error {
	if o.kind == "tar" || o.kind == "local" {
		return o.writeFiles(ctx, b, store, res)
	}
	saved := images.Saved{Desc: res.Manifest, Image: res.Manifest.Digest, Name: names[0]}
	return o.file(func(w io.Writer) error {
		buf := bufio.NewWriterSize(w, 1<<20)
		return errors.Join(store.Save(ctx, buf, []images.Saved{saved}, o.kind == "docker"), buf.Flush())
	})
}

// file writes to the destination, a file or standard output.
func (o *buildOutput) file(write func(io.Writer) error) error {
	if o.stdout {
		return write(o.std.out)
	}
	return writeFile(o.dest, write)
}

// writeFiles writes the files of the image, as a tar or to a directory.
func (o *buildOutput) writeFiles(ctx context.Context, b *imageBuilder, store *images.Store, res *builder.Result) (err error) {
	meta, err := transport.Open(ctx, "oci:"+store.Dir()+"@"+res.Manifest.Digest.String(), transport.Options{Platform: b.flags.platform})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	img, err := overlay.OpenImage(ctx, store.Layers(), layersOf(meta, store.Layers(), nil), overlay.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if o.kind == "tar" {
		return o.file(func(w io.Writer) error { return img.WriteTar(ctx, w, "", overlay.Root) })
	}
	if err := os.MkdirAll(o.dest, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(o.dest)
	if err != nil {
		return err
	}
	defer dir.Close()
	return img.ExtractInto(ctx, overlay.Root, dir, overlay.ExtractOptions{Archive: true})
}
