package main

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A ranged is an image of several that are looked at.
type ranged struct {
	ref  string
	name string // by which it is told
}

// eachImage opens images one after the other. What cannot be opened is told,
// and the rest is looked at.
func (f *imageFlags) eachImage(cmd *cobra.Command, std streams, all []ranged, look func(ctx context.Context, name string, img *openImage) error) error {
	var errs []error
	for _, r := range all {
		img, err := f.open(cmd.Context(), r.ref, f.show(std.err))
		if err == nil {
			err = errors.Join(look(cmd.Context(), r.name, img), img.Close())
		}
		if err != nil && (len(all) == 1 || cmd.Context().Err() != nil || errors.Is(err, unix.EPIPE) || errors.As(err, new(*usageError))) {
			return err
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return tellAll(cmd, std, errs)
}

// imagesOf gives the images that are typed, or with all those of the store, too.
func (f *imageFlags) imagesOf(typed []string, all bool) ([]ranged, error) {
	var images []ranged
	for _, ref := range typed {
		images = append(images, ranged{ref, ref})
	}
	if !all {
		return images, nil
	}
	s, err := f.images()
	if err != nil {
		return nil, err
	}
	rows, err := s.List()
	if err != nil {
		return nil, err
	}
	at := map[digest.Digest]bool{}
	for _, r := range rows {
		if at[r.Desc.Digest] {
			continue // by another name
		}
		at[r.Desc.Digest] = true
		name := r.Desc.Digest.Encoded()[:12]
		if r.Name != "" {
			name = r.Familiar()
		}
		// By digest: there may be a directory of that name here.
		images = append(images, ranged{"oci:" + s.Dir() + "@" + r.Desc.Digest.String(), name})
	}
	return images, nil
}
