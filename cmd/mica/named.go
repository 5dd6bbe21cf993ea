package main

import (
	"context"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"mica/layerstore"
	"mica/layerstore/images"
	"mica/layerstore/transport"
)

// fullName gives a name with registry and tag, as images are kept.
func fullName(typed string) (reference.Named, error) {
	if word, _, ok := strings.Cut(typed, ":"); ok && slices.Contains(transport.Schemes, word) {
		return nil, &transport.ReferenceError{Ref: typed, Reason: word + ": is how an image in a file begins: for a name write docker.io/library/" + typed}
	}
	named, err := reference.ParseNormalizedNamed(typed)
	if err != nil {
		return nil, &transport.ReferenceError{Ref: typed, Reason: "a name is [HOST[:PORT]/]PATH[:TAG] of lower-case letters, digits and . _ - between them"}
	}
	return reference.TagNameOnly(named), nil
}

// images gives the images of the store.
func (f *imageFlags) images() (*images.Store, error) {
	store, err := f.store()
	if err != nil {
		return nil, err
	}
	return images.Open(store), nil
}

// findNamed finds an image in the store by name or ID.
func findNamed(_ context.Context, s *images.Store, typed string) (transport.Found, error) {
	rows, err := s.Find(typed)
	if err != nil {
		return transport.Found{}, err
	}
	if len(rows) == 0 {
		return transport.Found{}, noSuchImage(s, typed)
	}
	return transport.Found{Layout: s.Dir(), Digest: rows[0].Desc.Digest, Name: rows[0].Name}, nil
}

func noSuchImage(s *images.Store, typed string) error {
	return &notFoundError{fmt.Sprintf("no image %q in %s", typed, s.Layers().Root())}
}

// A notFoundError says that there is no such thing in the store.
type notFoundError struct{ text string }

func (e *notFoundError) Error() string        { return e.text }
func (e *notFoundError) Is(target error) bool { return target == iofs.ErrNotExist }

// openNamed is transport.Open, for images of the store too: those cannot be
// collected while their files are being opened.
func (f *imageFlags) openNamed(ctx context.Context, store *layerstore.Store, ref string, show *progress) (*transport.Image, error) {
	s := images.Open(store)
	o := f.transportOptions(store, show)
	unlock := func() {}
	defer func() { unlock() }()
	o.Named = func(ctx context.Context, name string) (transport.Found, error) {
		found, err := f.named(ctx, s, name, show)
		if err != nil {
			return found, err
		}
		if unlock, err = s.Share(ctx); err != nil {
			unlock = func() {}
			return found, err
		}
		return findNamed(ctx, s, name)
	}
	return transport.Open(ctx, ref, o)
}
