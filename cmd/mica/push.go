package main

import (
	"context"
	"fmt"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"mica/layerstore/images"
	"mica/layerstore/registry"
	"mica/layerstore/transport"
)

func newPush(std streams) *cobra.Command {
	p := &puller{std: std}
	cmd := &cobra.Command{
		Use:   "push [flags] IMAGE [NAME]",
		Short: "Send an image to a registry",
		Long: `Push sends IMAGE, of mica's store, to the registry that is in its name, or as
NAME. Only what the registry lacks is sent; of an image for many platforms all of
them, unless --platform says which. Standard output is the name with its digest.`,
		Example: `  mica push registry.example.org/web:1
  mica push web:1 registry.example.org/web:1
  mica push --tls-verify=false web:1 10.0.0.7:5000/web`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.push(cmd.Context(), args[0], args[len(args)-1]); err != nil {
				return &argError{args[0], err}
			}
			return nil
		},
	}
	p.flags.addRoot(cmd.Flags())
	p.flags.addPlatform(cmd.Flags())
	p.flags.addProgress(cmd.Flags())
	p.flags.registry.add(cmd.Flags())
	cmd.Flags().BoolVarP(&p.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func (p *puller) push(ctx context.Context, image, to string) error {
	s, err := p.flags.images()
	if err != nil {
		return err
	}
	found, err := findNamed(ctx, s, image)
	if err != nil {
		return err
	}
	if to == image && found.Name != "" {
		to = found.Name // of an ID
	}
	named, err := fullName(to)
	if err != nil {
		return err
	}
	d, err := p.pushed(ctx, s, found)
	if err != nil {
		return err
	}
	target, err := registry.Dial(ctx, named, p.flags.registry.options(p.flags.registry.verify))
	if err != nil {
		return err
	}
	show := p.flags.showUnless(p.quiet, p.std.err)
	defer show.done()
	show.called("pushing", "pushed")
	if err := s.Push(ctx, images.Push{To: target, Name: named, Desc: d, Progress: show.layer}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.std.out, "%s@%s\n", reference.TrimNamed(named), d.Digest)
	return err
}

// pushed gives what is to be sent: all there is, or the image for one platform.
func (p *puller) pushed(ctx context.Context, s *images.Store, found transport.Found) (ocispec.Descriptor, error) {
	refs, err := s.References(found.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if p.flags.platform == "" || refs.Manifests == nil {
		return ocispec.Descriptor{MediaType: refs.MediaType, Digest: found.Digest}, nil
	}
	img, err := transport.Open(ctx, "oci:"+s.Dir()+"@"+found.Digest.String(), transport.Options{Platform: p.flags.platform})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return img.Manifest, img.Close()
}
