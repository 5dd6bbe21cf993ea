package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mica/container"
	"mica/fs"
	"mica/overlay/diff"
)

func newExplain(std streams) *cobra.Command {
	e := &explainer{std: std}
	cmd := &cobra.Command{
		Use:   "explain [flags] CONTAINER|IMAGE",
		Short: "Draw what a container is made of, and who shares it",
		Long: `Explain draws a container or an image from the top down: the processes that run,
what is mounted into their root, the upper with what it holds, and each layer of
the image with the command that made it; where each of these lies on disk, and
which other containers and images have it too.`,
		Example: `  mica explain web
  mica explain debian:12
  mica run -d --name a debian:12 sleep 1000 && mica explain a`,
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, args[0]) },
	}
	e.imageFlags.add(cmd.Flags())
	return cmd
}

type explainer struct {
	imageFlags
	std streams
}

// run draws a container, or else an image.
func (e *explainer) run(cmd *cobra.Command, what string) error {
	ctx := cmd.Context()
	c, err := (&containerFlags{images: e.imageFlags}).maybe(ctx, what, false)
	if err != nil {
		return err
	}
	var out strings.Builder
	ref := what
	if c != nil {
		ref, e.platform = c.Config.Image.Source, c.Config.Image.Platform
		e.drawContainer(&out, c)
	}
	img, err := e.open(ctx, ref, e.show(e.std.err))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if c != nil {
		if err := e.drawUpper(ctx, &out, c); err != nil {
			return err
		}
	}
	if err := e.drawImage(ctx, &out, img, c); err != nil {
		return err
	}
	_, err = io.WriteString(e.std.out, out.String())
	return err
}

// A box is drawn with a head and lines about it.
func box(w io.Writer, head string, lines ...string) {
	const room = 74 // columns, in a terminal of 80
	fill := room - utf8.RuneCountInString(head)
	fmt.Fprintf(w, "┌─ %s %s\n", printable(head), strings.Repeat("─", max(fill, 1)))
	for _, l := range lines {
		fmt.Fprintf(w, "│  %s\n", printable(l))
	}
}

// drawContainer draws what there is of a container while it runs.
func (e *explainer) drawContainer(w io.Writer, c *container.Container) {
	cfg := &c.Config
	lines := []string{statusOf(c), "command  " + strings.Join(cfg.Process.Args(), " ")}
	pids, err := c.Processes()
	for i, pid := range pids {
		if i == 8 {
			lines = append(lines, fmt.Sprintf("         … %d more: mica top %s", len(pids)-i, cfg.Name))
			break
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil {
			lines = append(lines, fmt.Sprintf("process  %d  %s", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))))
		}
	}
	box(w, fmt.Sprintf("container %s  %s", cfg.Name, cfg.ID[:12]), lines...)
	lines = nil
	for _, m := range cfg.Mounts {
		access := "read-only"
		if m.RW {
			access = "writable"
		}
		lines = append(lines, fmt.Sprintf("%s  %s of %s, %s", m.Destination, m.Type, first(m.Name, m.Source, "memory"), access))
	}
	if err == nil {
		mounts, _ := fs.Mounts(fs.RuntimeDir(filepath.Dir(filepath.Dir(c.Dir()))))
		for _, m := range mounts {
			if m.Dir == c.Root() {
				lines = append(lines, fmt.Sprintf("/  %s, served by process %d", m.Dir, m.PID))
			}
		}
	}
	if len(lines) > 0 {
		box(w, "mounted", lines...)
	}
}

// drawUpper draws what a container has changed.
func (e *explainer) drawUpper(ctx context.Context, w io.Writer, c *container.Container) (err error) {
	f := changedFlags{imageFlags: e.imageFlags, container: c}
	changed, err := f.openChanged(ctx, e.std, c.Config.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, changed.Close()) }()
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	changes, err := listChanges(cmd, changed.Tree, 0)
	if err != nil {
		return err
	}
	changes = slices.DeleteFunc(changes, func(ch diff.Change) bool {
		return mountpointOf(c, &ch) || ch.What == 0 && ch.From != nil && ch.To != nil
	})
	lines := []string{c.Upper()}
	printer := &diffPrinter{modified: 'C'}
	for i, ch := range changes {
		if i == 8 {
			lines = append(lines, fmt.Sprintf("… %d more: mica diff %s", len(changes)-i, c.Config.Name))
			break
		}
		lines = append(lines, fmt.Sprintf("%c /%s", printer.letter(&ch), strings.TrimPrefix(ch.Path, "/")))
	}
	box(w, fmt.Sprintf("upper  writable, %s, of this container alone", size(c.Written())), lines...)
	return nil
}

// drawImage draws the layers of an image, topmost first.
func (e *explainer) drawImage(ctx context.Context, w io.Writer, img *openImage, self *container.Container) error {
	users, err := e.users(ctx, self)
	if err != nil {
		return err
	}
	specs := layersOf(img.meta, img.store, nil)
	for i, l := range slices.Backward(img.meta.Layers) {
		name := first(l.Digest.String(), l.DiffID.String(), specs[i].Key())
		lines := []string{first(l.History, "(no history)")}
		unpacked := ""
		if ix, err := img.store.OpenIndex(specs[i].Spec); err == nil {
			unpacked = fmt.Sprintf(" holding %s in %s", size(ix.Info().LayerSize), plural(int(ix.Info().Entries), "file"))
			ix.Close()
		}
		at := img.meta.Source
		if d := l.Digest; d != "" {
			if s, err := e.images(); err == nil {
				if _, err := os.Stat(s.BlobPath(d)); err == nil {
					at = s.BlobPath(d)
				}
			}
		}
		lines = append(lines, "blob   "+at, "index  "+img.store.IndexPath(specs[i].Key()))
		if also := users[l.Digest.String()]; len(also) > 0 {
			lines = append(lines, "shared with "+strings.Join(also, ", "))
		}
		box(w, fmt.Sprintf("layer %d/%d  read-only, %s, %s%s", i+1, len(specs), shortDigest(name), size(l.Blob.Size()), unpacked), lines...)
	}
	name := img.meta.Name
	if self != nil {
		name = self.Config.Image.Name
	}
	fmt.Fprintf(w, "└─ image %s  %s\n", printable(name), shortDigest(first(img.meta.ConfigDigest.String(), img.meta.Manifest.Digest.String())))
	return nil
}

// users tells of each layer by its digest who else has it: containers, and
// images of the store.
func (e *explainer) users(ctx context.Context, self *container.Container) (map[string][]string, error) {
	users := map[string][]string{}
	note := func(ref, who string) {
		store, err := e.store()
		if err != nil {
			return
		}
		meta, err := e.resolve(ctx, store, ref, nil)
		if err != nil {
			return // it is not there any more
		}
		defer meta.Close()
		for _, l := range meta.Layers {
			if d := l.Digest.String(); d != "" && !slices.Contains(users[d], who) {
				users[d] = append(users[d], who)
			}
		}
	}
	list, err := (&containerFlags{images: e.imageFlags}).all(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if self == nil || c.Config.ID != self.Config.ID {
			note(c.Config.Image.Source, "container "+c.Config.Name)
		}
	}
	s, err := e.images()
	if err != nil {
		return nil, err
	}
	rows, err := s.List()
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	for _, r := range rows {
		if r.Name != "" {
			note("oci:"+s.Dir()+"@"+r.Desc.Digest.String(), "image "+r.Familiar())
		}
	}
	return users, nil
}
