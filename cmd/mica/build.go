package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"mica/builder"
	"mica/builder/dockerfile"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/images"
	"mica/layerstore/transport"
)

func newBuild(std streams) *cobra.Command {
	b := &imageBuilder{std: std}
	cmd := &cobra.Command{
		Use:   "build [flags] CONTEXT",
		Short: "Build an image from a Dockerfile",
		Long: `Build makes an image in mica's store out of a Dockerfile and the files of
CONTEXT: a directory, a tar, or - for either of a tar and a Dockerfile alone on
standard input. Each step is a layer over the image so far; those whose inputs
are what they were before are not made again (CACHED). Standard output is the
ID of the image. FROM takes any IMAGE that mount takes.

A step that fails tells its place in the Dockerfile, the end of its output, and
how to look at the image as it was before it; nothing is tagged then.`,
		Example: `  mica build -t app:1 .
  mica build -t app:1 -f ci/Dockerfile --target test --build-arg VERSION=7 src
  git archive HEAD | SOURCE_DATE_EPOCH=0 mica build -t app:1 -
  mica build --output type=local,dest=out .`,
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	b.flags.addRoot(flags)
	b.flags.addPull(flags)
	flags.Lookup("pull").NoOptDefVal = "always"
	b.flags.registry.add(flags)
	flags.StringVarP(&b.file, "file", "f", "", "read the Dockerfile `FILE` (default Dockerfile or Containerfile in CONTEXT), - being standard input")
	flags.StringArrayVarP(&b.tags, "tag", "t", nil, "call the image `NAME`")
	flags.StringArrayVar(&b.args, "build-arg", nil, "give the ARG `NAME[=VALUE]`, without a value that of the environment")
	flags.StringVar(&b.target, "target", "", "build `STAGE`, by name or number, and what it needs")
	flags.StringVar(&b.flags.platform, "platform", "", "build for `OS/ARCH` or OS/ARCH/VARIANT (default this machine's)")
	flags.BoolVar(&b.noCache, "no-cache", false, "make each step anew")
	flags.BoolVar(&b.explain, "explain-cache", false, "tell why a step is not cached")
	flags.BoolVar(&b.keep, "keep", false, "leave the container of a failed RUN there, to go on in")
	flags.StringArrayVar(&b.secrets, "secret", nil, "give RUN --mount=type=secret `id=ID[,src=FILE|,env=NAME]`")
	flags.StringArrayVar(&b.labels, "label", nil, "add the label `NAME=VALUE` to the config")
	flags.StringArrayVar(&b.annotations, "annotation", nil, "add the annotation `NAME=VALUE` to the manifest")
	flags.StringVarP(&b.output, "output", "o", "", "write the result besides: `type=docker|oci|tar|local[,dest=PATH]`")
	flags.StringVar(&b.idFile, "iidfile", "", "write the ID of the image to `FILE`")
	flags.BoolVarP(&b.quiet, "quiet", "q", false, "print nothing but the ID, and what failed")
	flags.StringVar(&b.compression, "compression", "gzip", "store new layers as gzip, zstd or none, with `HOW`:LEVEL or without")
	addChoice(flags, &b.engine, "engine", "what puts changes over the image while a command runs, the kernel's overlayfs or mica", "auto", "kernel", "fuse")
	addChoice(flags, &b.progress, "progress", "how steps are shown", "auto", "plain", "json")
	return cmd
}

// An imageBuilder is the command build.
type imageBuilder struct {
	flags imageFlags
	std   streams

	file, target, output, idFile, compression string
	tags, args, secrets, labels, annotations  []string
	noCache, explain, keep, quiet             bool
	progress, engine                          choice
}

func (b *imageBuilder) run(cmd *cobra.Command, context_ string) (err error) {
	ctx := cmd.Context()
	store, err := b.flags.images()
	if err != nil {
		return err
	}
	o, err := b.options(store)
	if err != nil {
		return err
	}
	out, err := parseOutput(b.output, b.std)
	if err != nil {
		return err
	}
	names, err := b.names()
	if err != nil {
		return err
	}
	in, err := b.openContext(ctx, store.Layers(), context_)
	if err != nil {
		return &argError{context_, storeError(store.Layers(), err)}
	}
	defer func() { err = errors.Join(err, in.close()) }()
	if err := b.plan(o, in); err != nil {
		return err
	}
	o.Context, o.ContextDir, o.Sums = in.tree, in.dir, in.sums
	show := newBuildProgress(b.std.err, b.progress.word, b.quiet)
	o.Progress = show
	b.tellUnused(show, o.Plan)
	runner := newBuildRunner(store.Layers(), b.std, b.engine.word)
	defer func() { err = errors.Join(err, runner.stacks.close()) }()
	o.Runner = runner
	res, err := builder.Build(ctx, *o)
	if err != nil {
		show.failed(err)
		return storeError(store.Layers(), err)
	}
	defer func() { err = errors.Join(err, res.Lease.Release()) }()
	return b.deliver(ctx, store, res, names, out)
}

// options evaluates what is not of the Dockerfile.
func (b *imageBuilder) options(store *images.Store) (*builder.Options, error) {
	o := &builder.Options{Images: store, NoCache: b.noCache, Explain: b.explain, Keep: b.keep}
	var err error
	o.Platform = platforms.Normalize(platforms.DefaultSpec())
	if text := first(b.flags.platform, os.Getenv("DOCKER_DEFAULT_PLATFORM")); text != "" {
		if o.Platform, err = platforms.Parse(text); err != nil {
			return nil, &usageError{err: fmt.Errorf("--platform %s: OS/ARCH or OS/ARCH/VARIANT", text)}
		}
	}
	if o.Packing, err = parsePacking(b.compression); err != nil {
		return nil, &usageError{err: fmt.Errorf("--compression %s: %w", b.compression, err)}
	}
	if o.Labels, err = pairs("label", b.labels); err != nil {
		return nil, err
	}
	if o.Annotations, err = pairs("annotation", b.annotations); err != nil {
		return nil, err
	}
	if o.Secrets, err = parseSecrets(b.secrets); err != nil {
		return nil, err
	}
	args := b.buildArgs()
	if text, ok := args[epochName]; ok || os.Getenv(epochName) != "" {
		text = first(text, os.Getenv(epochName))
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, &usageError{err: fmt.Errorf("%s=%s: seconds since 1970", epochName, text)}
		}
		epoch := time.Unix(n, 0).UTC()
		o.Epoch = &epoch
	}
	o.Find = func(ctx context.Context, name string, platform *ocispec.Platform) (*transport.Image, error) {
		flags := b.flags
		if platform != nil {
			flags.platform = platforms.Format(*platform)
		}
		return flags.openNamed(ctx, store.Layers(), name, nil)
	}
	return o, nil
}

// epochName is the variable of reproducible builds (reproducible-builds.org).
const epochName = "SOURCE_DATE_EPOCH"

// plan reads the Dockerfile.
func (b *imageBuilder) plan(o *builder.Options, in *buildContext) error {
	f, err := dockerfile.Parse(in.name, in.dockerfile)
	if err != nil {
		return err
	}
	machine := platforms.Normalize(platforms.DefaultSpec())
	o.Plan, err = f.Plan(dockerfile.Options{Args: b.buildArgs(), Target: b.target, Platform: o.Platform, BuildPlatform: machine})
	return err
}

// buildArgs are those of --build-arg.
func (b *imageBuilder) buildArgs() map[string]string {
	args := map[string]string{}
	for _, arg := range b.args {
		name, value, given := strings.Cut(arg, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		args[name] = value
	}
	return args
}

// tellUnused tells of arguments that no ARG takes: mostly they are misspelt.
func (b *imageBuilder) tellUnused(show *buildProgress, plan *dockerfile.Plan) {
	for _, name := range slices.Sorted(maps.Keys(b.buildArgs())) {
		if name != epochName && !plan.Declares(name) {
			show.note(fmt.Sprintf("--build-arg %s: no ARG takes it", name))
		}
	}
}

// names are what the image is to be called, in full.
func (b *imageBuilder) names() ([]string, error) {
	var names []string
	for _, tag := range b.tags {
		named, err := fullName(tag)
		if err != nil {
			return nil, &argError{tag, err}
		}
		if _, digested := named.(reference.Digested); digested {
			return nil, &argError{tag, &usageError{err: errors.New("a name with a digest cannot be given")}}
		}
		names = append(names, named.String())
	}
	return names, nil
}

// deliver gives the image its names and tells its ID.
func (b *imageBuilder) deliver(ctx context.Context, store *images.Store, res *builder.Result, names []string, out *buildOutput) error {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		if err := store.Tag(ctx, name, res.Manifest); err != nil {
			return storeError(store.Layers(), err)
		}
	}
	if out != nil {
		if err := out.write(ctx, b, store, res, names); err != nil {
			return err
		}
	}
	if b.idFile != "" {
		if err := os.WriteFile(b.idFile, []byte(res.Config), 0o644); err != nil {
			return err
		}
	}
	if out != nil && out.stdout {
		return nil
	}
	_, err := fmt.Fprintln(b.std.out, res.Config)
	return err
}

// pairs reads NAME=VALUE flags.
func pairs(flag string, all []string) (map[string]string, error) {
	out := map[string]string{}
	for _, kv := range all {
		name, value, _ := strings.Cut(kv, "=")
		if name == "" {
			return nil, &usageError{err: fmt.Errorf("--%s %q: NAME=VALUE", flag, kv)}
		}
		out[name] = value
	}
	return out, nil
}

// parseSecrets reads --secret, and what it leads to.
func parseSecrets(all []string) (map[string]builder.Secret, error) {
	secrets := map[string]builder.Secret{}
	for _, text := range all {
		fields := map[string]string{}
		for _, field := range strings.Split(text, ",") {
			key, value, ok := strings.Cut(field, "=")
			if !ok || !slices.Contains([]string{"id", "src", "source", "env", "type"}, key) {
				return nil, &usageError{err: fmt.Errorf("--secret %s: id=ID[,src=FILE|,env=NAME]", text)}
			}
			fields[key] = value
		}
		id, file, env := fields["id"], first(fields["src"], fields["source"]), fields["env"]
		if id == "" {
			id = first(env, filepath.Base(file))
		}
		if file == "" && env == "" {
			env = id
			if _, ok := os.LookupEnv(env); !ok || fields["type"] == "file" {
				env, file = "", id
			}
		}
		data := []byte(os.Getenv(env))
		if file != "" {
			var err error
			if data, err = os.ReadFile(file); err != nil {
				return nil, &argError{"--secret " + text, bare(err)}
			}
		}
		secrets[id] = builder.Secret{Data: data}
	}
	return secrets, nil
}

// parsePacking reads gzip, zstd or none, with :LEVEL or without.
func parsePacking(text string) (layerstore.Packing, error) {
	name, level, given := strings.Cut(text, ":")
	codec, ok := map[string]blob.Compression{"none": blob.None, "gzip": blob.Gzip, "zstd": blob.Zstd}[name]
	if !ok {
		return layerstore.Packing{}, errors.New("gzip, zstd or none")
	}
	n, err := strconv.Atoi(level)
	if given && (err != nil || n < 1) {
		return layerstore.Packing{}, errors.New("the level is a number from 1 on")
	}
	return layerstore.Packing{Codec: codec, Level: n}, nil
}
