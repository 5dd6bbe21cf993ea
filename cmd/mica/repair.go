package main

import (
	"context"
	"fmt"

	"github.com/distribution/reference"

	"mica/layerstore"
	"mica/layerstore/images"
	"mica/layerstore/registry"
)

// repair fetches what is damaged or missing of an image of the store. What it
// has fetched is told where that is no harm to what is printed besides.
func (f *imageFlags) repair(ctx context.Context, std streams, store *layerstore.Store, typed string, tell bool) error {
	s := images.Open(store)
	rows, err := s.Find(typed)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return noSuchImage(s, typed)
	}
	show := f.show(std.err).called("fetching", "fetched")
	defer show.done()
	fetched, err := s.Repair(ctx, images.Repair{
		Desc: rows[0].Desc, Platform: f.platform, Progress: show.layer,
		From: func(ctx context.Context, name reference.Named) (images.Remote, error) {
			return registry.Dial(ctx, name, f.registry.options())
		},
	})
	for _, d := range fetched {
		if !tell {
			break
		}
		if _, err := fmt.Fprintf(std.out, "fetched: %s\n", d); err != nil {
			return err
		}
	}
	return err
}
