package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/layerstore/images"
	"mica/layerstore/transport"
)

func newSave(std streams) *cobra.Command {
	s := &saver{std: std}
	cmd := &cobra.Command{
		Use:   "save [flags] IMAGE…",
		Short: "Write images of the store to an archive",
		Long: `Save writes each IMAGE of mica's store to one archive, on standard output or
--output, that docker, podman, skopeo and mica load: an OCI layout, and for
docker-archive docker's manifest.json besides; oci is the layout as a directory,
which keeps what it has. Blobs are written as they are, each once, so that
digests stay; the same images make the same bytes.`,
		Example: `  mica save -o web.tar web:1
  mica save web:1 debian:12 | ssh host mica load
  mica save --format oci-archive -o web.oci.tar web:1`,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args) },
	}
	s.flags.addRoot(cmd.Flags())
	s.flags.addPlatform(cmd.Flags())
	cmd.Flags().StringVarP(&s.output, "output", "o", "", "write to `FILE`, which is whole or not there")
	addChoice(cmd.Flags(), &s.format, "format", "what to write", "docker-archive", "oci-archive", "oci")
	return cmd
}

type saver struct {
	flags  imageFlags
	std    streams
	output string
	format choice
}

func (s *saver) run(ctx context.Context, args []string) error {
	if s.output == "" && isTerminal(s.std.out) {
		return &usageError{err: errors.New("an archive is nothing for a terminal"), hint: "mica save -o FILE, or redirect"}
	}
	store, err := s.flags.images()
	if err != nil {
		return err
	}
	var all []images.Saved
	for _, arg := range args {
		one, err := s.find(ctx, store, arg)
		if err != nil {
			return &argError{arg, err}
		}
		all = append(all, one)
	}
	if s.format.word == "oci" {
		return s.layout(ctx, store, all)
	}
	write := func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<20)
		return errors.Join(store.Save(ctx, b, all, s.format.word == "docker-archive"), b.Flush())
	}
	if s.output == "" || s.output == "-" {
		return write(s.std.out)
	}
	need, err := store.SavedSize(ctx, all)
	if err != nil {
		return err
	}
	if err := images.RoomIn(filepath.Dir(s.output), need); err != nil {
		return &argError{s.output, fullError(filepath.Dir(s.output), err)}
	}
	if err := wholeFile(s.output, write); err != nil {
		return fullError(filepath.Dir(s.output), err)
	}
	return nil
}

// fullError says of a full disk that it is that of a directory.
func fullError(dir string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &spaceError{dir, err, ""}
	}
	return err
}

// layout writes images to a directory.
func (s *saver) layout(ctx context.Context, store *images.Store, all []images.Saved) error {
	if s.output == "" || s.output == "-" {
		return &usageError{err: errors.New("a layout is a directory"), hint: "mica save --format oci -o DIR IMAGE"}
	}
	to, err := images.OpenLayout(s.output)
	if err != nil {
		return &argError{s.output, err}
	}
	for _, img := range all {
		if err := store.CopyTo(ctx, to, img); err != nil {
			return &argError{s.output, err}
		}
	}
	return nil
}

func (s *saver) find(ctx context.Context, store *images.Store, arg string) (images.Saved, error) {
	found, err := findNamed(ctx, store, arg)
	if err != nil {
		return images.Saved{}, err
	}
	refs, err := store.References(found.Digest)
	if err != nil {
		return images.Saved{}, err
	}
	st, err := os.Stat(store.BlobPath(found.Digest))
	if err != nil {
		return images.Saved{}, err
	}
	one := images.Saved{Desc: ocispec.Descriptor{MediaType: refs.MediaType, Digest: found.Digest, Size: st.Size()}, Image: found.Digest}
	if one.Desc.MediaType == "" {
		one.Desc.MediaType = ocispec.MediaTypeImageManifest
	}
	// By its ID an image is saved without a name, as docker has it.
	if named, err := fullName(arg); err == nil && named.String() == found.Name {
		one.Name = found.Name
	}
	if refs.Manifests != nil {
		one.Image, err = s.image(ctx, store, found.Digest)
	}
	return one, err
}

// image gives the manifest of an index for the platform that is wanted.
func (s *saver) image(ctx context.Context, store *images.Store, d digest.Digest) (digest.Digest, error) {
	img, err := transport.Open(ctx, "oci:"+store.Dir()+"@"+d.String(), transport.Options{Platform: s.flags.platform})
	if err != nil {
		return "", err
	}
	return img.Manifest.Digest, img.Close()
}

// wholeFile writes a file that is there when it is whole, and not before.
func wholeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return &argError{path, err}
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
