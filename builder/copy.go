package builder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"

	"mica/builder/source"
	"mica/layerstore/toc"
	"mica/overlay/tarball"
)

// A copyStep is a COPY or an ADD.
type copyStep struct {
	instructions.SourcesAndDest
	fromName, chown, chmod string
	exclude                []string
	parents, link          bool
	unpack                 bool // local archives
}

func copyOf(c *instructions.CopyCommand) *copyStep {
	return &copyStep{c.SourcesAndDest, c.From, c.Chown, c.Chmod, c.ExcludePatterns, c.Parents, c.Link, false}
}

func addOf(c *instructions.AddCommand) *copyStep {
	unpack := c.Unpack == nil || *c.Unpack
	return &copyStep{c.SourcesAndDest, "", c.Chown, c.Chmod, c.ExcludePatterns, false, c.Link, unpack}
}

// A sourceError is about one word of an instruction.
type sourceError struct {
	word string
	err  error
}

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }
func (e *sourceError) About() string { return e.word }

// copy makes a layer of what a COPY or ADD takes.
func (r *stageRun) copy(ctx context.Context, s *running, cmd instructions.Command, c *copyStep) (err error) {
	for _, src := range c.SourcePaths {
		if remote(src) {
			return &sourceError{src, errors.New("URLs and git repositories are not fetched; download it into the context, or in a RUN")}
		}
	}
	target, err := r.openTarget(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	w := &copyWork{stageRun: r, copyStep: c, target: target}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.prepare(ctx, cmd); err != nil {
		return err
	}
	inputs, err := w.inputs(ctx)
	if err != nil {
		return err
	}
	text := r.st.Name + "\x00" + textOf(cmd)
	if w.empty() {
		r.img = r.note(textOf(cmd), nil, nil)
		s.end(Done)
		return nil
	}
	return r.cached(ctx, s, text, textOf(cmd), inputs, func() (*layer, error) {
		desc, diffID, err := r.Images.Create(ctx, r.lease, r.Packing, func(to io.Writer) error { return w.write(ctx, to) })
		return &layer{desc, diffID, textOf(cmd)}, err
	})
}

// remote reports whether a source of an ADD is not a file.
func remote(src string) bool {
	for _, prefix := range []string{"http://", "https://", "git://", "git@", "ssh://", "ftp://"} {
		if strings.HasPrefix(src, prefix) {
			return true
		}
	}
	return false
}

// A copyWork is the state of one COPY or ADD.
type copyWork struct {
	*stageRun
	*copyStep
	target  *target
	rewrite source.Rewrite
	parts   []part
	opened  []io.Closer
}

// A part is files of one tree, and where they go.
type part struct {
	tree source.Tree
	source.Layout
	rewrite source.Rewrite
	sums    *source.Sums
}

func (w *copyWork) close() error {
	var err error
	for _, c := range w.opened {
		err = errors.Join(err, c.Close())
	}
	return err
}

// prepare selects the files.
func (w *copyWork) prepare(ctx context.Context, cmd instructions.Command) error {
	if err := w.ownerAndMode(ctx); err != nil {
		return err
	}
	dest, isDir, err := w.destination()
	if err != nil {
		return err
	}
	isDir = isDir || len(w.SourcePaths)+len(w.SourceContents) > 1 && strings.HasSuffix(w.DestPath, "/")
	tree, sums, err := w.sourceTree(ctx, cmd)
	if err != nil {
		return err
	}
	plain := w.SourcePaths
	if w.unpack {
		if plain, err = w.archives(ctx, tree, sums, dest); err != nil {
			return err
		}
	}
	if len(plain) > 0 {
		q := source.Request{Sources: plain, Exclude: w.exclude, Parents: w.parents, Dest: dest, DestDir: isDir}
		if err := w.add(ctx, part{tree: tree, sums: sums, rewrite: w.rewrite}, q); err != nil {
			return err
		}
	}
	for _, doc := range w.SourceContents {
		q := source.Request{Sources: []string{doc.Path}, Dest: dest, DestDir: isDir}
		root := w.rewrite
		if err := w.add(ctx, part{tree: source.Memory{doc.Path: doc.Data}, rewrite: root}, q); err != nil {
			return err
		}
	}
	return nil
}

// add selects files of a tree and lays them out.
func (w *copyWork) add(ctx context.Context, p part, q source.Request) error {
	items, err := source.Select(ctx, p.tree, q)
	if err == nil {
		err = source.Conflict(items)
	}
	if err != nil {
		var missing *source.MissingError
		if errors.As(err, &missing) {
			return &sourceError{missing.Source, err}
		}
		return err
	}
	layout, err := source.Lay(w.target.tree(w.link), items, w.rewrite.Owner)
	if err != nil {
		return err
	}
	p.Layout = *layout
	w.parts = append(w.parts, p)
	return nil
}

// empty reports whether nothing would be in the layer that is not there already.
func (w *copyWork) empty() bool {
	for _, p := range w.parts {
		if len(p.Items) > 0 || len(p.Made) > 0 {
			return false
		}
	}
	return true
}

// inputs are what the layer depends on.
func (w *copyWork) inputs(ctx context.Context) ([]Input, error) {
	files, dirs := sha256.New(), sha256.New()
	for _, p := range w.parts {
		sum, err := source.Digest(ctx, p.tree, p.Items, p.rewrite, p.sums)
		if err != nil {
			return nil, err
		}
		files.Write(sum[:])
		sum = source.DigestDirs(p.Dirs)
		dirs.Write(sum[:])
	}
	return append(w.common(),
		Input{"files", digest.NewDigest(digest.SHA256, files).String()},
		Input{"directories above them", digest.NewDigest(digest.SHA256, dirs).String()}), nil
}

// write writes the layer.
func (w *copyWork) write(ctx context.Context, to io.Writer) error {
	tw := tarball.NewWriter(to)
	add := func(e *toc.Entry, contents func(io.Writer, int64, int64) error) error { return tw.Add(e, contents) }
	now := timeOf(w.now())
	written := map[string]bool{}
	for _, p := range w.parts {
		for _, dir := range p.Dirs {
			if written[dir.Path] {
				continue
			}
			written[dir.Path] = true
			if p.Made[dir.Path] {
				dir.Mtime = now
			}
			if err := add(&dir, nil); err != nil {
				return fmt.Errorf("/%s: %w", dir.Path, err)
			}
		}
		if err := source.Write(ctx, p.tree, p.Items, p.rewrite, add); err != nil {
			return err
		}
	}
	return tw.Close()
}
