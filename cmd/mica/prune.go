package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"mica/layerstore/images"
)

func newPrune(std streams) *cobra.Command {
	var flags imageFlags
	var all, dry bool
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Free what no image of the store needs",
		Long: `Prune removes images that have lost their name, blobs that none leads to, and
what killed pulls have left. With --all images go that no mount uses. What a
pull, load or push that is running needs stays, and mounts go on.`,
		Example: `  mica prune
  mica prune --dry-run
  mica prune --all`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := flags.images()
			if err != nil {
				return err
			}
			r := &remover{flags: flags, std: std}
			gone := func(n images.Named) bool {
				return n.Name == "" || all && r.refuseMounted(s, n.Desc.Digest) == nil
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
			_, err = fmt.Fprintf(std.err, "%s %s in %s\n", verb, size(c.Bytes), plural(len(c.Blobs), "blob"))
			return err
		},
	}
	flags.addRoot(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove all images that no mount uses")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "remove nothing, tell what would go")
	cmd.Flags().BoolP("force", "f", false, "accepted for docker's sake: nothing is asked")
	return cmd
}
