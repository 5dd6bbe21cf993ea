package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"mica/layerstore/images"
	"mica/layerstore/registry"
	"mica/layerstore/transport"
)

func newCopy(std streams) *cobra.Command {
	c := &imageCopier{std: std}
	cmd := &cobra.Command{
		Use:   "copy [flags] SOURCE DESTINATION",
		Short: "Copy an image from one place to another",
		Long: `Copy copies an image between registries, files, directories and mica's store.
SOURCE is all that mount accepts; DESTINATION is one of

  NAME                        an image of mica's store
  docker://NAME               one of a registry
  oci:DIR[:TAG]               an OCI image layout, which keeps what it has
  oci-archive:FILE[:NAME]     the same in a tar, which is written anew
  docker-archive:FILE[:NAME]  what docker save writes
  dir:DIR                     skopeo's directory of one image

with - as FILE for standard output. Bytes and digests stay what they are. Of an
image for many platforms one is taken, unless --all is given. Standard output is
the digest that was written.`,
		Example: `  mica copy docker://debian:12 oci:/srv/oci:bookworm
  mica copy --all docker://debian:12 docker://registry.example.org/debian:12
  mica copy app.tar oci-archive:app.oci.tar:app:1`,
		ValidArgsFunction: c.flags.completeImage,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	c.flags.add(cmd.Flags())
	c.flags.registry.add(cmd.Flags())
	cmd.Flags().BoolVarP(&c.all, "all", "a", false, "copy all platforms of the image, not one")
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

type imageCopier struct {
	flags      imageFlags
	std        streams
	all, quiet bool
}

func (c *imageCopier) run(ctx context.Context, source, destination string) (err error) {
	s, err := c.flags.images()
	if err != nil {
		return err
	}
	show := c.flags.showUnless(c.quiet, c.std.err)
	defer show.done()
	from, ref, closeSource, err := c.from(ctx, s, source, show)
	if err != nil {
		return &argError{source, storeError(s.Layers(), err)}
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	show.called("copying", "copied")
	d, err := c.to(ctx, s, destination, images.Copy{From: from, Ref: ref, Platform: c.flags.platform, All: c.all, Progress: show.layer})
	if err != nil {
		return &argError{destination, err}
	}
	out := c.std.out
	if strings.HasSuffix(destination, "-archive:-") || strings.Contains(destination, "-archive:-:") {
		out = c.std.err
	}
	_, err = fmt.Fprintln(out, d.Digest)
	return err
}

// from gives what a source is copied from, and what it is called there.
func (c *imageCopier) from(ctx context.Context, s *images.Store, source string, show *progress) (images.Remote, string, func() error, error) {
	if name, ok := registryName(source); ok {
		named, err := fullName(name)
		if err != nil {
			return nil, "", nil, err
		}
		from, err := registry.Dial(ctx, named, c.flags.registry.options(c.flags.registry.verify))
		return from, refOf(named), func() error { return nil }, err
	}
	o := c.flags.transportOptions(s.Layers(), show)
	unlock := func() {}
	o.Named = func(ctx context.Context, name string) (transport.Found, error) {
		found, err := c.flags.named(ctx, s, name, show)
		if err != nil {
			return found, err
		}
		release, err := s.Share(ctx) // until it has been copied
		if err != nil {
			return found, err
		}
		unlock = release
		return findNamed(ctx, s, name)
	}
	stored, err := transport.OpenStored(ctx, source, o)
	if err == nil {
		return stored, stored.Desc.Digest.String(), func() error { unlock(); return stored.Close() }, nil
	}
	if !errors.Is(err, transport.ErrNoManifest) {
		unlock()
		return nil, "", nil, err
	}
	img, err := transport.Open(ctx, source, o)
	if err != nil {
		return nil, "", nil, err
	}
	if img.RawConfig == nil {
		return nil, "", nil, errors.Join(errRootfs(source), img.Close())
	}
	from, err := images.Of(ctx, img)
	if err != nil {
		return nil, "", nil, errors.Join(err, img.Close())
	}
	return from, "", img.Close, nil
}

// registryName gives the name of what is said to be in a registry.
func registryName(ref string) (string, bool) {
	for _, scheme := range []string{"docker://", "registry:"} {
		if name, ok := strings.CutPrefix(ref, scheme); ok {
			return name, true
		}
	}
	return "", false
}

// refOf is what a registry calls an image: by digest or, without one, by tag.
func refOf(named reference.Named) string {
	switch ref := named.(type) {
	case reference.Digested:
		return ref.Digest().String()
	case reference.Tagged:
		return ref.Tag()
	}
	return "latest"
}

// to copies to a destination.
func (c *imageCopier) to(ctx context.Context, s *images.Store, destination string, job images.Copy) (ocispec.Descriptor, error) {
	if name, ok := registryName(destination); ok {
		return c.toRegistry(ctx, name, job)
	}
	scheme, rest, ok := strings.Cut(destination, ":")
	path, name, _ := strings.Cut(rest, ":")
	if ok && path == "" {
		path = rest
	}
	var err error
	switch {
	case ok && scheme == "oci":
		if job.To, err = images.OpenLayout(path); err != nil {
			return ocispec.Descriptor{}, err
		}
		job.As = name
		return job.Run(ctx)
	case ok && scheme == "dir":
		if job.To, err = images.OpenSkopeoDir(rest); err != nil {
			return ocispec.Descriptor{}, err
		}
		return job.Run(ctx)
	case ok && (scheme == "oci-archive" || scheme == "docker-archive"):
		if job.As, err = archiveName(scheme, name); err != nil {
			return ocispec.Descriptor{}, err
		}
		return c.toArchive(ctx, path, scheme == "docker-archive", job)
	}
	named, err := fullName(destination)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := s.Pull(ctx, images.Pull{From: job.From, Ref: job.Ref, Name: named.String(), Platform: job.Platform, All: job.All, Progress: job.Progress})
	return d, storeError(s.Layers(), err)
}

// archiveName is what an image is called in an archive: docker's has names in
// full.
func archiveName(scheme, name string) (string, error) {
	if name == "" || scheme == "oci-archive" && !strings.ContainsAny(name, ":/") {
		return name, nil
	}
	named, err := fullName(name)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

func (c *imageCopier) toRegistry(ctx context.Context, name string, job images.Copy) (ocispec.Descriptor, error) {
	named, err := fullName(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if job.To, err = registry.Dial(ctx, named, c.flags.registry.options(c.flags.registry.verify)); err != nil {
		return ocispec.Descriptor{}, err
	}
	job.As = refOf(named)
	return job.Run(ctx)
}

func (c *imageCopier) toArchive(ctx context.Context, path string, docker bool, job images.Copy) (d ocispec.Descriptor, err error) {
	write := func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<20)
		archive := images.NewArchive(b, docker)
		job.To = archive
		if d, err = job.Run(ctx); err != nil {
			return err
		}
		return errors.Join(archive.Close(), b.Flush())
	}
	if path != "-" {
		return d, wholeFile(path, write)
	}
	if isTerminal(c.std.out) {
		return d, errTarOnTerminal
	}
	return d, write(c.std.out)
}
