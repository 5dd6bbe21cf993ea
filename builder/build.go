package builder

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"mica/builder/dockerfile"
	"mica/builder/source"
	"mica/layerstore"
	"mica/layerstore/images"
	"mica/layerstore/transport"
)

// Options say what is built, out of what, and how.
type Options struct {
	Plan    *dockerfile.Plan
	Images  *images.Store
	Context source.Tree
	// ContextDir is where Context lies if it can be mounted as it is: a directory
	// of which nothing is left out. "" is that it cannot.
	ContextDir string
	// Sums knows the digests of files of Context; nil knows none.
	Sums *source.Sums
	// Find gives the image that a FROM or a --from names. The caller of it closes it.
	Find   func(ctx context.Context, name string, platform *ocispec.Platform) (*transport.Image, error)
	Runner Runner
	// Platform is what an image from nothing is for.
	Platform ocispec.Platform

	Packing     layerstore.Packing // of new layers
	NoCache     bool               // build each step anew
	Explain     bool               // tell why a step was not cached
	Keep        bool               // leave the container of a failed RUN there
	Labels      map[string]string
	Annotations map[string]string
	Secrets     map[string]Secret
	// Epoch is SOURCE_DATE_EPOCH: written in place of all later times. Nil is none.
	Epoch    *time.Time
	Progress Progress
}

// A Result is an image that was built. It is in the store, held by Lease until
// that is released.
type Result struct {
	Manifest ocispec.Descriptor
	Config   digest.Digest
	Lease    *images.Lease
}

// Dir is where a store keeps what builds share.
func Dir(s *layerstore.Store) string { return filepath.Join(s.Root(), "build") }

// Build builds the target of a plan. What stages have made until one failed is
// kept as intermediate images.
func Build(ctx context.Context, o Options) (_ *Result, err error) {
	lease, err := o.Images.Lease(ctx)
	if err != nil {
		return nil, err
	}
	b := &build{Options: o, lease: lease, cache: &cache{filepath.Join(Dir(o.Images.Layers()), "steps")}, stages: map[*dockerfile.Stage]*future{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, lease.Release())
		}
	}()
	target, err := b.all(ctx)
	if rowsErr := b.remember(context.WithoutCancel(ctx)); err == nil {
		err = rowsErr
	}
	if err != nil {
		return nil, err
	}
	manifest, config, err := b.finish(ctx, target)
	if err != nil {
		return nil, err
	}
	return &Result{manifest, config, lease}, nil
}

// A build is one run of Build.
type build struct {
	Options
	lease *images.Lease
	cache *cache

	mu      sync.Mutex
	stages  map[*dockerfile.Stage]*future
	rows    []ocispec.Descriptor // of intermediate images
	sources map[string]*future   // images that are copied from
}

// A future is something that is made once, by the first who asks for it.
type future struct {
	once sync.Once
	img  *built
	err  error
}

// all builds all stages that are needed, and gives the target.
func (b *build) all(ctx context.Context) (*built, error) {
	g, ctx := errgroup.WithContext(ctx)
	for _, st := range b.Plan.Stages {
		g.Go(func() error {
			_, err := b.stage(ctx, st)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return b.stage(ctx, b.Plan.Target)
}

// stage gives a stage, built by the first who needs it.
func (b *build) stage(ctx context.Context, st *dockerfile.Stage) (*built, error) {
	b.mu.Lock()
	f := b.stages[st]
	if f == nil {
		f = &future{}
		b.stages[st] = f
	}
	b.mu.Unlock()
	f.once.Do(func() { f.img, f.err = b.buildStage(ctx, st) })
	return f.img, f.err
}

// image gives an image that files are taken from.
func (b *build) image(ctx context.Context, name string) (*built, error) {
	b.mu.Lock()
	if b.sources == nil {
		b.sources = map[string]*future{}
	}
	f := b.sources[name]
	if f == nil {
		f = &future{}
		b.sources[name] = f
	}
	b.mu.Unlock()
	f.once.Do(func() { f.img, f.err = b.base(ctx, name, nil) })
	return f.img, f.err
}

// now is the time of what is made: with an epoch never later than that.
func (b *build) now() time.Time {
	now := time.Now().Truncate(time.Second)
	if b.Epoch != nil && now.After(*b.Epoch) {
		return *b.Epoch
	}
	return now
}
