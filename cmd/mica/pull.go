package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mica/layerstore/images"
	"mica/layerstore/registry"
	"mica/layerstore/transport"
)

func newPull(std streams) *cobra.Command {
	p := &puller{std: std}
	cmd := &cobra.Command{
		Use:   "pull [flags] NAME…",
		Short: "Fetch images from a registry",
		Long: `Pull fetches each NAME from its registry into mica's store: layers side by side,
each checked and indexed as it arrives, so that it can be mounted at once. What
is there already is not fetched; what was cut off is gone on with. Standard
output is the name with the digest that it has now.`,
		Example: `  mica pull debian:12
  mica pull --platform linux/arm64 registry.example.org/web:1
  mica pull --all-tags localhost:5000/app`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, arg := range args {
				if err := p.pull(cmd.Context(), arg); err != nil {
					errs = append(errs, &argError{arg, err})
				}
			}
			return tellAll(cmd, std, errs)
		},
	}
	p.flags.addRoot(cmd.Flags())
	p.flags.addPlatform(cmd.Flags())
	p.flags.addProgress(cmd.Flags())
	p.flags.registry.add(cmd.Flags())
	cmd.Flags().BoolVar(&p.all, "all-platforms", false, "fetch it for all platforms that there are")
	cmd.Flags().BoolVarP(&p.tags, "all-tags", "a", false, "fetch all tags of the repository")
	cmd.Flags().BoolVarP(&p.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

type puller struct {
	flags            imageFlags
	std              streams
	all, tags, quiet bool
}

// registryFlags are those of commands that speak to registries.
type registryFlags struct {
	authFile, certDir string
	verify            bool
}

func (f *registryFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.authFile, "authfile", "", "look for credentials in `FILE` alone (default $REGISTRY_AUTH_FILE, else podman's and docker's files)")
	flags.StringVar(&f.certDir, "cert-dir", "", "take certificates from `DIR` (default /etc/containers/certs.d/HOST and /etc/docker/certs.d/HOST)")
	flags.BoolVar(&f.verify, "tls-verify", true, "refuse unknown certificates and plain HTTP")
}

func (f *registryFlags) options(verify bool) registry.Options {
	return registry.Options{Insecure: !verify, AuthFile: f.authFile, CertDir: f.certDir, UserAgent: "mica/" + version}
}

func (p *puller) pull(ctx context.Context, arg string) error {
	s, err := p.flags.images()
	if err != nil {
		return err
	}
	named, err := fullName(arg)
	if err != nil {
		return err
	}
	from, err := registry.Dial(ctx, named, p.flags.registry.options(p.flags.registry.verify))
	if err != nil {
		return err
	}
	names := []reference.Named{named}
	if p.tags {
		if names, err = tagged(ctx, from, named); err != nil {
			return err
		}
	}
	show := p.flags.showUnless(p.quiet, p.std.err)
	defer show.done()
	for _, name := range names {
		d, err := fetch(ctx, s, from, name, p.flags.platform, p.all, show)
		if err != nil {
			return storeError(s.Layers(), err)
		}
		if _, err := fmt.Fprintf(p.std.out, "%s@%s\n", reference.TrimNamed(name), d.Digest); err != nil {
			return err
		}
	}
	return nil
}

// tagged gives a repository with each of its tags.
func tagged(ctx context.Context, from *registry.Repository, named reference.Named) ([]reference.Named, error) {
	tags, err := from.Tags(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(tags)
	var names []reference.Named
	for _, tag := range tags {
		name, err := reference.WithTag(reference.TrimNamed(named), tag)
		if err != nil {
			return nil, fmt.Errorf("%s: tag %q: %w", named, tag, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// fetch pulls one image. A digest wins over a tag, and is then its name.
func fetch(ctx context.Context, s *images.Store, from images.Remote, named reference.Named, platform string, all bool, show *progress) (ocispec.Descriptor, error) {
	show.called("pulling", "pulled")
	p := images.Pull{From: from, Name: named.String(), Platform: platform, All: all, Progress: show.layer}
	switch ref := named.(type) {
	case reference.Digested:
		p.Ref = ref.Digest().String()
		name, err := reference.WithDigest(reference.TrimNamed(named), ref.Digest())
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		p.Name = name.String()
	case reference.Tagged:
		p.Ref = ref.Tag()
	}
	return s.Pull(ctx, p)
}

// pullPolicies are when an image that is named is fetched.
var pullPolicies = []string{"missing", "always", "never"}

// addPull adds the flag that says when. $MICA_PULL is what it is unless given.
func (f *imageFlags) addPull(flags *pflag.FlagSet) {
	addChoice(flags, &f.pull, "pull", "when an image by name is fetched from its registry ($MICA_PULL changes the default)", pullPolicies...)
	if policy := os.Getenv("MICA_PULL"); slices.Contains(pullPolicies, policy) {
		f.pull.word = policy
	}
}

// named finds an image by name in the store, and fetches it where that is
// wanted.
func (f *imageFlags) named(ctx context.Context, s *images.Store, typed string, show *progress) (transport.Found, error) {
	found, err := findNamed(ctx, s, typed)
	if f.pull.word == "never" || f.pull.word == "" || err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return found, err
	}
	if err == nil && f.pull.word == "missing" && f.whole(s, found.Digest) {
		return found, nil
	}
	named, bad := fullName(typed)
	if bad != nil {
		return found, err
	}
	from, failed := registry.Dial(ctx, named, f.registry.options(true))
	if failed == nil {
		_, failed = fetch(ctx, s, from, named, f.platform, false, show)
	}
	if failed != nil {
		if err == nil {
			return found, failed
		}
		return found, fmt.Errorf("%v; %w", err, storeError(s.Layers(), failed))
	}
	return findNamed(ctx, s, typed)
}

// whole says whether the manifest is there that would be taken: of an index for
// many platforms only some may have been fetched.
func (f *imageFlags) whole(s *images.Store, d digest.Digest) bool {
	refs, err := s.References(d)
	if err != nil || refs.Manifests == nil {
		return true // to be told of when it is opened
	}
	chosen, err := images.ChooseManifest(refs.Manifests, f.platform)
	return err != nil || s.Has(chosen)
}
