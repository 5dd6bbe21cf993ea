package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/overlay"
)

func newGrep(std streams) *cobra.Command {
	g := &grepper{std: std, done: map[content]*grepFound{}}
	cmd := &cobra.Command{
		Use:   "grep [flags] PATTERN [IMAGE…]",
		Short: "Search the contents of the files of images",
		Long: `Grep prints the lines of regular files that match PATTERN, a regular expression
as Go and RE2 have them, after the path, and after IMAGE: where there are several
or --all are searched. What images share is read once, in the order in which it
lies in the layers. The exit status is 1 if nothing matches.`,
		Example: `  mica grep -i 'password *=' debian.tar
  mica grep --all -l 'log4j' --path /opt
  mica grep -F -n 10.0.0.1 web:1 web:2`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return g.flags.completeImages(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return g.run(cmd, args[0], args[1:]) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&g.all, "all", false, "search all images of the store")
	flags.StringArrayVar(&g.paths, "path", nil, "search `PATH` and below alone (repeatable)")
	flags.BoolVarP(&g.fixed, "fixed-strings", "F", false, "PATTERN is text, no expression")
	flags.BoolVarP(&g.fold, "ignore-case", "i", false, "upper and lower case are alike")
	flags.BoolVarP(&g.names, "files-with-matches", "l", false, "print paths alone")
	flags.BoolVarP(&g.numbers, "line-number", "n", false, "print the numbers of lines")
	flags.BoolVarP(&g.text, "text", "a", false, "print lines of files that are not text, too")
	g.flags.add(flags)
	return cmd
}

type grepper struct {
	flags                                  imageFlags
	std                                    streams
	paths                                  []string
	all, fixed, fold, names, numbers, text bool

	pattern *regexp.Regexp
	several bool // images are searched, so paths are told with theirs
	out     *bufio.Writer
	matched bool
	// done is what has been found in contents that other images may have, too.
	done map[content]*grepFound
	kept int // bytes of lines in there
}

// A content is what a file holds: files of one size that begin at one place of
// layers of one name have the same.
type content struct {
	layer      string
	off, bytes int64
}

// A hit is a file that is to be searched.
type hit struct {
	path  string
	id    overlay.NodeID
	layer int
	what  content
}

func (g *grepper) run(cmd *cobra.Command, pattern string, refs []string) (err error) {
	if g.fixed {
		pattern = regexp.QuoteMeta(pattern)
	}
	mode := "(?m)"
	if g.fold {
		mode = "(?mi)"
	}
	if g.pattern, err = regexp.Compile(mode + pattern); err != nil {
		return &usageError{err: fmt.Errorf("PATTERN: %w", err)}
	}
	if !g.all && len(refs) == 0 {
		return &usageError{err: errors.New("IMAGE missing"), hint: "mica grep PATTERN IMAGE…, or --all"}
	}
	images, err := g.flags.imagesOf(refs, g.all)
	if err != nil {
		return err
	}
	if len(g.paths) == 0 {
		g.paths = []string{"/"}
	}
	g.several = g.all || len(images) > 1
	g.out = bufio.NewWriterSize(g.std.out, 1<<16)
	err = g.flags.eachImage(cmd, g.std, images, func(ctx context.Context, ref string, img *openImage) error {
		return g.image(ctx, cmd, ref, img)
	})
	if err = errors.Join(err, g.out.Flush()); err == nil && !g.matched {
		return &toldError{exitFailed}
	}
	return err
}

// image searches one image, in the order of its layers' bytes.
func (g *grepper) image(ctx context.Context, cmd *cobra.Command, ref string, img *openImage) error {
	failures := &pathErrors{cmd: cmd, stderr: g.std.err, image: ref}
	var hits []hit
	holds := img.Holds()
	for _, path := range g.paths {
		start, err := img.Tree.Lstat(path)
		if err == nil {
			err = img.Tree.Walk(path, start.ID, func(v *overlay.Visit) error {
				if v.Attr.Mode&unix.S_IFMT != unix.S_IFREG || v.Attr.Size == 0 {
					return ctx.Err()
				}
				layer, off, ok, err := img.Tree.Place(v.Attr.ID)
				if ok {
					hits = append(hits, hit{v.Path, v.Attr.ID, layer, content{holds[layer], off, int64(v.Attr.Size)}})
				}
				return errors.Join(err, ctx.Err())
			})
		}
		if err != nil && g.several && errors.Is(err, iofs.ErrNotExist) {
			continue // not all images have it
		}
		if err != nil {
			if err := failures.failed(ctx, path, err); err != nil {
				return err
			}
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.what.off, b.what.off))
	})
	for _, h := range hits {
		found, err := g.search(ctx, img.View, h)
		if err == nil {
			err = g.tell(ref, h.path, found)
		}
		if err != nil {
			if err := failures.failed(ctx, h.path, err); err != nil {
				return err
			}
		}
	}
	return failures.err()
}

// maxKept bounds the lines that are kept for other images, in bytes.
const maxKept = 64 << 20

// search looks into a file, or knows of another with its contents.
func (g *grepper) search(ctx context.Context, v *overlay.View, h hit) (*grepFound, error) {
	if found, known := g.done[h.what]; known {
		return found, nil
	}
	s := &grepScan{grepper: g}
	if _, err := v.WriteContents(ctx, s, h.id); err != nil && !errors.Is(err, errSeen) {
		return nil, err
	}
	found := s.end()
	if found != nil {
		g.kept += len(found.lines)
	}
	if g.several && g.kept < maxKept {
		g.done[h.what] = found
	}
	return found, nil
}

// tell prints what has been found in a file.
func (g *grepper) tell(ref, path string, found *grepFound) error {
	if found == nil {
		return nil
	}
	g.matched = true
	name := nameFor(isTerminal(g.std.out), path)
	if g.several {
		name = ref + ":" + name
	}
	switch {
	case g.names:
		_, err := fmt.Fprintln(g.out, name)
		return err
	case found.binary: // as grep says it
		fmt.Fprintf(g.std.err, "mica: grep: %s: binary file matches\n", printable(name))
		return nil
	}
	for line := range strings.Lines(found.lines) {
		if _, err := fmt.Fprintf(g.out, "%s:%s", name, line); err != nil {
			return err
		}
	}
	return nil
}
