package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"mica/builder"
	"mica/container"
	"mica/layerstore/images"
)

func newPrune(std streams) *cobra.Command {
	var flags imageFlags
	var all, dry, stopped, volumes, build bool
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Free what no image of the store needs",
		Long: `Prune removes images that have lost their name, blobs that none leads to, and
what killed pulls have left. With --all images go that no mount and no container
uses; with --containers those go first that do not run, with --volumes what
volumes no container has. What a pull, load or push that is running needs stays,
and mounts go on. What builds have come by stays too, so that their steps are
cached; --build removes it, and what RUN --mount=type=cache has kept.`,
		Example: `  mica prune
  mica prune --all --dry-run
  mica prune --containers --volumes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := flags.images()
			if err != nil {
				return err
			}
			r := &remover{flags: flags, std: std}
			if (stopped || volumes) && dry {
				return &usageError{err: errors.New("--dry-run is for images")}
			}
			if err := r.pruneContainers(cmd.Context(), s, stopped, volumes); err != nil {
				return err
			}
			gone := func(n images.Named) bool {
				used, err := r.containersOf(cmd.Context(), s, n.Desc.Digest)
				return err == nil && len(used) == 0 && (n.Name == "" && (build || !n.Intermediate()) || all && r.refuseUsed(cmd.Context(), s, n.Desc.Digest) == nil)
			}
			var freed int64
			if build && !dry {
				if freed, err = builder.Prune(s.Layers()); err != nil {
					return storeError(s.Layers(), err)
				}
			}
			rows, err := s.List()
			if err != nil {
				return storeError(s.Layers(), err)
			}
			if slices.ContainsFunc(rows, gone) && !dry {
				if err := s.Drop(cmd.Context(), gone); err != nil {
					return storeError(s.Layers(), err)
				}
			}
			c, err := s.Collect(cmd.Context(), images.Collection{Dry: dry, Without: gone})
			if err != nil {
				return storeError(s.Layers(), err)
			}
			for _, d := range c.Blobs {
				if _, err := fmt.Fprintln(std.out, d); err != nil {
					return err
				}
			}
			verb := "freed"
			if dry {
				verb = "would free"
			}
			_, err = fmt.Fprintf(std.err, "%s %s in %s\n", verb, size(c.Bytes+freed), plural(len(c.Blobs), "blob"))
			return err
		},
	}
	flags.addRoot(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove all images that no mount and no container uses")
	cmd.Flags().BoolVar(&stopped, "containers", false, "remove containers that do not run, first")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "remove volumes without a name that no container has")
	cmd.Flags().BoolVar(&build, "build", false, "remove what builds have kept to be faster: intermediate images, steps, caches")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "remove nothing, tell what would go")
	cmd.Flags().BoolP("force", "f", false, "accepted for docker's sake: nothing is asked")
	return cmd
}

// pruneContainers removes what does not run, and volumes that are left, and
// prints the IDs and names.
func (r *remover) pruneContainers(ctx context.Context, s *images.Store, stopped, volumes bool) error {
	cs := container.Open(s.Layers())
	list, err := cs.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if !stopped || c.State.Status != container.Created && c.State.Status != container.Exited {
			continue
		}
		err := removeContainer(ctx, c, false, false)
		if errors.As(err, new(*container.RunningError)) {
			continue // started meanwhile
		}
		if err != nil {
			return &argError{c.Config.Name, err}
		}
		if _, err := fmt.Fprintln(r.std.out, c.Config.ID); err != nil {
			return err
		}
	}
	if !volumes {
		return nil
	}
	gone, err := cs.PruneVolumes()
	for _, name := range gone {
		if _, err := fmt.Fprintln(r.std.out, name); err != nil {
			return err
		}
	}
	return err
}
