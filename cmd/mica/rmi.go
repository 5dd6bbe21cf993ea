package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"mica/container"
	"mica/layerstore/images"
)

func newRmi(std streams) *cobra.Command {
	r := &remover{std: std}
	cmd := &cobra.Command{
		Use:   "rmi [flags] IMAGE…",
		Short: "Remove images from the store",
		Long: `Rmi takes the name IMAGE out of the store. With its last name an image goes, and
with it the layers that no other one has. An image by ID goes if it has one name
at most. What is mounted, or what a container was made of, is refused; with
--force the name goes all the same. A mount stays as it is, it has its files open;
of a container the image stays, without a name, until that is removed.`,
		Example: `  mica rmi debian:12
  mica rmi -f 3bd64f6cd412
  mica rmi $(mica images -q --filter dangling=true)`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.flags.images()
			if err != nil {
				return err
			}
			var errs []error
			for _, arg := range args {
				if err := r.remove(cmd.Context(), s, arg); err != nil {
					errs = append(errs, &argError{arg, storeError(s.Layers(), err)})
				}
			}
			if err := r.collect(cmd.Context(), s); err != nil {
				errs = append(errs, storeError(s.Layers(), err))
			}
			return tellAll(cmd, std, errs)
		},
	}
	r.flags.addRoot(cmd.Flags())
	cmd.Flags().BoolVarP(&r.force, "force", "f", false, "remove what is mounted, and by ID what has several names")
	return cmd
}

type remover struct {
	flags imageFlags
	std   streams
	force bool
}

// remove takes away a name, or all of an image by ID.
func (r *remover) remove(ctx context.Context, s *images.Store, arg string) error {
	found, err := s.Find(arg)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return noSuchImage(s, arg)
	}
	if len(found) > 1 && !r.force {
		var names []string
		for _, f := range found {
			names = append(names, f.Familiar())
		}
		return fmt.Errorf("has %d names: %s; -f removes them all", len(found), strings.Join(names, ", "))
	}
	rows, err := s.List()
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(rows, func(n images.Named) bool {
		return slices.ContainsFunc(found, func(f images.Named) bool { return f.Name == n.Name && f.Desc.Digest == n.Desc.Digest })
	})
	last := !slices.ContainsFunc(left, func(n images.Named) bool { return n.Desc.Digest == found[0].Desc.Digest })
	if last && !r.force {
		if err := r.refuseUsed(ctx, s, found[0].Desc.Digest); err != nil {
			return err
		}
	}
	if last {
		// By force: what is started again needs its image.
		if names, err := r.containersOf(ctx, s, found[0].Desc.Digest); err != nil || len(names) > 0 {
			return errors.Join(err, r.untag(ctx, s, found))
		}
	}
	err = s.Drop(ctx, func(n images.Named) bool {
		return slices.ContainsFunc(found, func(f images.Named) bool { return f.Name == n.Name && f.Desc.Digest == n.Desc.Digest })
	})
	if err != nil {
		return err
	}
	return r.tellUntagged(found)
}

// untag takes the names of an image away, which stays.
func (r *remover) untag(ctx context.Context, s *images.Store, found []images.Named) error {
	var names []string
	for _, f := range found {
		names = append(names, f.Name)
	}
	if _, err := s.Untag(ctx, names...); err != nil {
		return err
	}
	return r.tellUntagged(found)
}

func (r *remover) tellUntagged(found []images.Named) error {
	for _, f := range found {
		if f.Name == "" {
			continue
		}
		if _, err := fmt.Fprintln(r.std.out, "Untagged:", f.Familiar()); err != nil {
			return err
		}
	}
	return nil
}

// collect deletes what no name leads to any more, and tells of it as docker does.
func (r *remover) collect(ctx context.Context, s *images.Store) error {
	c, err := s.Collect(ctx, images.Collection{})
	if err != nil {
		return err
	}
	for _, d := range c.Blobs {
		if _, err := fmt.Fprintln(r.std.out, "Deleted:", d); err != nil {
			return err
		}
	}
	return nil
}

// A usedError says that an image is in use.
type usedError struct{ dirs, containers []string }

func (e *usedError) Error() string {
	var by []string
	if len(e.dirs) > 0 {
		by = append(by, "mounted at "+strings.Join(e.dirs, ", "))
	}
	if len(e.containers) > 0 {
		by = append(by, "used by container "+strings.Join(e.containers, ", "))
	}
	return strings.Join(by, " and ")
}
func (e *usedError) Code() string { return "in-use" }
func (e *usedError) Hint() string {
	if len(e.containers) > 0 {
		return "mica rm " + strings.Join(e.containers, " ") + "; -f drops the name only"
	}
	return "mica umount " + strings.Join(e.dirs, " ") + "; -f drops the name only, the mount goes on"
}

// refuseUsed refuses what a mount has open, and what a container was made of.
func (r *remover) refuseUsed(ctx context.Context, s *images.Store, d digest.Digest) error {
	used, err := r.usersOf(ctx, s, d)
	if err == nil && len(used.dirs)+len(used.containers) > 0 {
		return used
	}
	return err
}

// usersOf gives what uses an image: mounts, and containers with theirs.
func (r *remover) usersOf(ctx context.Context, s *images.Store, d digest.Digest) (*usedError, error) {
	mounts, err := r.flags.mounts()
	if err != nil {
		return nil, err
	}
	digests := manifestsOf(s, d)
	used := &usedError{}
	if used.containers, err = r.containersOf(ctx, s, d); err != nil {
		return nil, err
	}
	own := filepath.Join(s.Layers().Root(), "containers")
	for _, m := range mounts {
		if slices.ContainsFunc(digests, func(d string) bool { return strings.HasSuffix(m.Source, "@"+d) }) && !inside(m.Dir, own) {
			used.dirs = append(used.dirs, m.Dir)
		}
	}
	return used, nil
}

// manifestsOf gives a manifest, or an index and its manifests: what is mounted of
// an index is one of those.
func manifestsOf(s *images.Store, d digest.Digest) []string {
	digests := []string{d.String()}
	if refs, err := s.References(d); err == nil {
		for _, m := range refs.Manifests {
			digests = append(digests, m.Digest.String())
		}
	}
	return digests
}

// containersOf gives the names of the containers that were made of an image.
func (r *remover) containersOf(ctx context.Context, s *images.Store, d digest.Digest) (names []string, err error) {
	list, err := container.Open(s.Layers()).List(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	digests := manifestsOf(s, d)
	for _, c := range list {
		if slices.Contains(digests, c.Config.Image.Digest) {
			names = append(names, c.Config.Name)
		}
	}
	return names, nil
}

func newUntag(std streams) *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "untag [flags] NAME…",
		Short: "Take names off images of the store",
		Long: `Untag takes each NAME off the image that has it. The image stays, if need be
without a name, until mica prune.`,
		Example: `  mica untag web:old
  mica untag web:1 web:2 && mica images
  mica untag registry.example.org/web:1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := flags.images()
			if err != nil {
				return err
			}
			var errs []error
			for _, arg := range args {
				named, err := fullName(arg)
				if err != nil {
					errs = append(errs, &argError{arg, err})
					continue
				}
				gone, err := s.Untag(cmd.Context(), named.String())
				if err == nil && len(gone) == 0 {
					err = noSuchImage(s, arg)
				}
				if err != nil {
					errs = append(errs, &argError{arg, storeError(s.Layers(), err)})
				}
			}
			return tellAll(cmd, std, errs)
		},
	}
	flags.addRoot(cmd.Flags())
	return cmd
}

func newTag(std streams) *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "tag [flags] IMAGE NAME…",
		Short: "Give an image of the store more names",
		Long: `Tag gives IMAGE, a name or an ID of the store, each NAME. What has had that name
keeps its others, or is left without one.`,
		Example: `  mica tag debian:12 registry.example.org/debian:12
  mica tag 3bd64f6cd412 web:latest
  mica tag web:1.0 web:1 web:latest`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := flags.images()
			if err != nil {
				return err
			}
			found, err := s.Find(args[0])
			if err == nil && len(found) == 0 {
				err = noSuchImage(s, args[0])
			}
			if err != nil {
				return &argError{args[0], err}
			}
			for _, arg := range args[1:] {
				named, err := fullName(arg)
				if err == nil && strings.Contains(arg, "@") {
					err = errors.New("a name with a digest cannot be given")
				}
				if err == nil {
					err = storeError(s.Layers(), s.Tag(cmd.Context(), named.String(), found[0].Desc))
				}
				if err != nil {
					return &argError{arg, err}
				}
			}
			return nil
		},
	}
	flags.addRoot(cmd.Flags())
	return cmd
}
