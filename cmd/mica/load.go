package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mica/layerstore/images"
	"mica/layerstore/transport"
)

func newLoad(std streams) *cobra.Command {
	l := &loader{std: std}
	cmd := &cobra.Command{
		Use:   "load [flags] [SOURCE]",
		Short: "Take the images of an archive or a layout into the store",
		Long: `Load copies the images of SOURCE into mica's store, under the names that they
have there, and indexes them on the way. SOURCE is all that mount accepts: an
archive of docker, podman or skopeo, compressed or not, or an OCI layout; with
:TAG, :@NUMBER or @DIGEST only that image. Without one it is read from standard
input. Digests stay what they are.`,
		Example: `  mica load -i debian.tar && mica mount --mkdir debian:12 m
  docker save debian:12 | mica load
  mica load oci:/srv/oci:web`,
		ValidArgsFunction: l.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if l.input != "" {
					return &usageError{err: errors.New("either --input or SOURCE")}
				}
				l.input = args[0]
			}
			return l.run(cmd.Context())
		},
	}
	l.add(cmd.Flags())
	cmd.Flags().BoolVar(&l.all, "all-platforms", false, "load images for all platforms that they are there for")
	cmd.Flags().StringVarP(&l.input, "input", "i", "", "read `SOURCE`, - being standard input")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "print nothing but the names of what was loaded")
	return cmd
}

// spoolPath is where a file without a name is found.
const spoolPath = "/proc/self/fd/"

type loader struct {
	imageFlags
	std   streams
	input string
	all   bool
	quiet bool
}

func (l *loader) run(ctx context.Context) error {
	s, err := l.images()
	if err != nil {
		return err
	}
	if l.input != "" && l.input != "-" {
		return l.load(ctx, s, l.input)
	}
	if isTerminal(l.std.in) {
		return &usageError{err: errors.New("SOURCE missing, and standard input is a terminal")}
	}
	return l.spooled(ctx, s)
}

// spooled loads what comes by standard input: the order of an archive's members
// is anything.
func (l *loader) spooled(ctx context.Context, s *images.Store) (err error) {
	return spool(s, l.std.in, func(path string) error { return l.load(ctx, s, path) })
}

// spool has what can only be read once read from a file in the store that has
// no name.
func spool(s *images.Store, in io.Reader, use func(path string) error) (err error) {
	root := s.Layers().Root()
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(root, ".load-")
	if err != nil {
		return storeError(s.Layers(), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := io.Copy(f, in); err != nil {
		return &argError{"standard input", storeError(s.Layers(), err)}
	}
	return use(spoolPath + strconv.Itoa(int(f.Fd())))
}

// load takes in the image that a source names, or all that it has.
func (l *loader) load(ctx context.Context, s *images.Store, source string) error {
	show := l.showUnless(l.quiet, l.std.err)
	defer show.done()
	show.called("loading", "loaded")
	err := l.one(ctx, s, source, show)
	if !errors.As(err, new(*transport.AmbiguousError)) {
		return err
	}
	listed, err := transport.List(ctx, source, l.transportOptions(s.Layers(), show))
	if err != nil {
		return l.failed(s, source, err)
	}
	for _, each := range listed {
		if err := l.one(ctx, s, each.Ref, show); err != nil {
			return err
		}
	}
	return nil
}

// one takes in one image.
func (l *loader) one(ctx context.Context, s *images.Store, ref string, show *progress) error {
	if l.all {
		err := l.index(ctx, s, ref, show)
		if !errors.Is(err, transport.ErrNoManifest) {
			return err
		}
	}
	img, err := transport.Open(ctx, ref, l.transportOptions(s.Layers(), show))
	if err != nil {
		return l.failed(s, ref, err)
	}
	defer img.Close()
	if img.RawConfig == nil {
		return l.failed(s, ref, errRootfs(ref))
	}
	names := namesIn(img.Names, ref)
	d, err := s.Bring(ctx, img, names, func(i, n int, size int64) func(int64) {
		return show.layer(fmt.Sprintf("layer %d/%d", i+1, n), size)
	})
	if err != nil {
		return l.failed(s, ref, err)
	}
	return l.tell(names, d.Digest.String())
}

// index takes in an image with all platforms.
func (l *loader) index(ctx context.Context, s *images.Store, ref string, show *progress) (err error) {
	stored, err := transport.OpenStored(ctx, ref, l.transportOptions(s.Layers(), show))
	if errors.Is(err, transport.ErrNoManifest) {
		return err
	}
	if err != nil {
		return l.failed(s, ref, err)
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	names := namesIn(stored.Names, ref)
	for _, name := range append(names, "")[:max(1, len(names))] {
		p := images.Pull{From: stored, Ref: stored.Desc.Digest.String(), Name: name, All: true, Progress: show.layer}
		if _, err := s.Pull(ctx, p); err != nil {
			return l.failed(s, ref, err)
		}
	}
	return l.tell(names, stored.Desc.Digest.String())
}

// errRootfs says that there are files, and no image.
func errRootfs(ref string) error {
	return &usageError{err: errors.New("a root filesystem, and no image"), hint: "mica import " + ref + " NAME"}
}

func (l *loader) failed(s *images.Store, ref string, err error) error {
	if strings.HasPrefix(ref, spoolPath) {
		ref = "standard input"
	}
	return &argError{ref, storeError(s.Layers(), err)}
}

// tell prints what docker load prints.
func (l *loader) tell(names []string, id string) error {
	for _, name := range names {
		line := (images.Named{Name: name}).Familiar()
		if !l.quiet {
			line = "Loaded image: " + line
		}
		if _, err := fmt.Fprintln(l.std.out, printable(line)); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		return nil
	}
	if !l.quiet {
		id = "Loaded image ID: " + id
	}
	_, err := fmt.Fprintln(l.std.out, id)
	return err
}

// namesIn gives the full names that an image gets: those that it has; of a tag
// alone, as layouts have it, that of the file before it.
func namesIn(all []string, ref string) []string {
	var names []string
	for _, stored := range all {
		if !strings.ContainsAny(stored, "/:") {
			// A directory "oci" would make a name that is read as a form: what
			// tells images apart there is the tag, unless it is everybody's.
			if base := baseName(ref); !slices.Contains(transport.Schemes, base) {
				stored = base + ":" + stored
			} else if stored == "latest" {
				continue
			}
		}
		if named, err := fullName(stored); err == nil && !slices.Contains(names, named.String()) {
			names = append(names, named.String())
		}
	}
	return names
}

// baseName is a repository for what lies in a file or directory.
func baseName(ref string) string {
	if strings.HasPrefix(ref, spoolPath) {
		return "" // which names nothing
	}
	for _, scheme := range transport.Schemes {
		if path, ok := strings.CutPrefix(ref, scheme+":"); ok {
			ref = path
			break
		}
	}
	base, _, _ := strings.Cut(filepath.Base(ref), ":")
	base, _, _ = strings.Cut(base, "@")
	base, _, _ = strings.Cut(base, ".")
	return strings.ToLower(base)
}
