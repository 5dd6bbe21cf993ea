package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mica/builder/commit"
	"mica/container"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/images"
)

func newCommit(std streams) *cobra.Command {
	c := &committer{std: std}
	cmd := &cobra.Command{
		Use:   "commit [flags] DIR [IMAGE]",
		Short: "Make an image of what a mount has changed",
		Long: `Commit makes an image of the one that DIR was made over, with what is changed
there as one more layer, and names it IMAGE. DIR is as with mica diff: a writable
mount, an upper directory, a container, a name that was given to mount --keep.
Of a container, which stands still meanwhile, command, environment, user and
directory are taken over as well. Standard output is the ID of the image.

With SOURCE_DATE_EPOCH in the environment, a number of seconds, that is when the
image was made, and no file is younger: the same change gives the same image,
wherever and whenever.`,
		Example: `  mica mount --rw --keep try debian:12 m && rm -r m/usr/share/doc
  mica commit -m 'without documents' m small:12
  mica commit -c 'CMD ["nginx", "-g", "daemon off;"]' -c 'EXPOSE 80' try web
  SOURCE_DATE_EPOCH=0 mica commit --compression zstd:9 up web:1`,
		ValidArgsFunction: c.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 1 {
				name = args[1]
			}
			return c.run(cmd.Context(), args[0], name)
		},
	}
	flags := cmd.Flags()
	c.imageFlags.add(flags)
	c.addImage(flags)
	c.addCommit(flags)
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "print nothing but the ID")
	return cmd
}

// commitFlags say what a new image is like.
type commitFlags struct {
	message, author string
	change          []string
	compression     compression
}

func (f *commitFlags) addCommit(flags *pflag.FlagSet) {
	flags.StringVarP(&f.message, "message", "m", "", "say `TEXT` in the history of the image")
	flags.StringVarP(&f.author, "author", "a", "", "name `AUTHOR`, \"Jane Doe <jane@example.org>\"")
	flags.StringArrayVarP(&f.change, "change", "c", nil, "change the config by an `INSTRUCTION` of a Dockerfile: CMD, ENTRYPOINT, ENV,\nEXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	flags.Var(&f.compression, "compression", "store the layer by `CODEC`: gzip, zstd or none, with :LEVEL (default gzip)")
}

// A compression is the value of --compression.
type compression struct {
	text string
	layerstore.Packing
}

var _ pflag.Value = (*compression)(nil)

func (c *compression) String() string { return c.text }
func (c *compression) Type() string   { return "CODEC" }

func (c *compression) Set(text string) error {
	codec, level, leveled := strings.Cut(text, ":")
	known := map[string]blob.Compression{"gzip": blob.Gzip, "zstd": blob.Zstd, "none": blob.None}
	p := layerstore.Packing{}
	var ok bool
	if p.Codec, ok = known[codec]; !ok {
		return errors.New("must be gzip, zstd or none")
	}
	if leveled {
		n, err := strconv.Atoi(level)
		if err != nil || n < 1 {
			return fmt.Errorf("level %q is no number from 1 on", level)
		}
		p.Level = n
	}
	c.text, c.Packing = text, p
	return p.Check()
}

// packing is gzip, which all tools read, unless told otherwise.
func (c *compression) packing() layerstore.Packing {
	if c.text == "" {
		return layerstore.Packing{Codec: blob.Gzip}
	}
	return c.Packing
}

type committer struct {
	changedFlags
	commitFlags
	std   streams
	quiet bool
}

func (c *committer) complete(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return c.completeChanged(word)
	case 1:
		return c.completeStored(word), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (c *committer) run(ctx context.Context, arg, name string) (err error) {
	if c.quiet {
		c.progress.word = "none"
	}
	o, err := c.options(name)
	if err != nil {
		return err
	}
	changed, err := c.openChanged(ctx, c.std, arg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, changed.Close()) }()
	if box := c.container; box != nil {
		if box.IsRunning() && !box.Paused() {
			if err := box.Pause(ctx); err != nil {
				return &argError{arg, err}
			}
			defer func() { err = errors.Join(err, box.Unpause(context.WithoutCancel(ctx))) }()
			flushMount(box.Root())
		}
		o.Instructions = append(containerInstructions(&box.Config.Process), o.Instructions...)
	}
	r, err := c.commit(ctx, changed, o)
	if err != nil {
		return &argError{arg, err}
	}
	_, err = fmt.Fprintln(c.std.out, r.Config.Digest)
	return err
}

// containerInstructions are those of a Dockerfile that make an image run what a
// container does.
func containerInstructions(p *container.Process) (list []string) {
	words := func(name string, args []string) {
		b, err := json.Marshal(args)
		if err == nil && args != nil { // strings marshal always
			list = append(list, name+" "+string(b))
		}
	}
	words("ENTRYPOINT", p.Entrypoint)
	words("CMD", p.Cmd)
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`).Replace(s) + `"`
	}
	for _, kv := range p.Env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.Contains(value, "\n") { // which a Dockerfile has no way to say
			list = append(list, "ENV "+name+"="+quote(value))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		list = append(list, "LABEL "+quote(key)+"="+quote(p.Labels[key]))
	}
	for _, one := range [][2]string{{"WORKDIR", p.WorkingDir}, {"USER", p.User}, {"STOPSIGNAL", p.StopSignal}} {
		if one[1] != "" {
			list = append(list, one[0]+" "+one[1])
		}
	}
	return list
}

// options gives those of a commit under a name, "" being none.
func (c *committer) options(name string) (commit.Options, error) {
	return c.made(c.std, "commit", name)
}

// made gives the options of an image that a command makes under a name, "" being
// none.
func (f *commitFlags) made(std streams, by, name string) (o commit.Options, err error) {
	o = commit.Options{
		Message: f.message, Author: f.author, Instructions: f.change, Packing: f.compression.packing(),
		CreatedBy: "mica " + by,
		Note:      func(text string) { fmt.Fprintf(std.err, "mica: %s: %s\n", by, printable(text)) },
	}
	if name != "" {
		named, err := fullName(name)
		if err != nil {
			return o, &argError{name, err}
		}
		o.Names = []string{named.String()}
	}
	o.Epoch, err = sourceDate()
	return o, err
}

// sourceDate gives the time of SOURCE_DATE_EPOCH, nil if that is not set
// (reproducible-builds.org/specs/source-date-epoch).
func sourceDate() (*time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("SOURCE_DATE_EPOCH=%s: not a number of seconds", text), hint: "SOURCE_DATE_EPOCH=$(date +%s)"}
	}
	t := time.Unix(n, 0)
	return &t, nil
}

// commit makes the image in the store.
func (c *committer) commit(ctx context.Context, changed *changed, o commit.Options) (r commit.Result, err error) {
	show := c.show(c.std.err)
	defer show.done()
	show.called("storing", "stored")
	o.Progress = func(i, n int, size int64) func(int64) { return show.layer(fmt.Sprintf("layer %d/%d", i+1, n), size) }
	infos, err := changed.img.infos(ctx)
	if err != nil {
		return r, err
	}
	base := commit.Base{Image: changed.img.meta}
	for _, info := range infos[:len(changed.img.Layers())] {
		base.DiffIDs = append(base.DiffIDs, digest.Digest(info.DiffID))
	}
	s := images.Open(changed.img.store)
	r, err = commit.Commit(ctx, s, base, changed.Tree, o)
	return r, storeError(s.Layers(), err)
}
