package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/layerstore/transport"
	"mica/overlay/diff"
)

type diffFlags struct {
	changedFlags
	at, toAt string
	ignore   []string
	stat     bool
	unified  bool
	nameOnly bool
	exitCode bool
	format   choice
}

func newDiff(std streams) *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff [flags] DIR | OLD NEW [PATH]",
		Short: "Tell what a mount has changed, or compare two images by content",
		Long: `Diff DIR tells what is changed against the image: A is what was added, D deleted,
C changed. DIR is a writable mount, an upper directory, a container,
or a name that was given to mount --keep. What was copied and is as before is not told.

Diff OLD NEW tells what has changed from OLD to NEW, everywhere or below PATH: A is what
was added, D deleted, M modified. Each of the two is an IMAGE or a directory: a
mount, an image that was unpacked. --at and --to-at take an image as it was
after one of its layers.

Files are compared by what they hold. They are read only if nothing else tells:
layers that both images have are not. Permissions, owners, extended attributes,
targets of symlinks and numbers of devices count too; times do not, unless
--ignore says otherwise. The words of --ignore are type, content, mode, owner,
xattr, target, device and mtime.

With --format json the changes are an array of objects: path, change ("added",
"deleted", "modified"), what (the words that apply), from and to.`,
		Example: `  mica diff m                                     # what has been changed at m
  mica diff -u m | grep '^[+-]'
  mica diff debian-12.1.tar debian-12.2.tar
  mica diff --stat oci:/srv/oci:v1 oci:/srv/oci:v2 | tail -1
  mica diff -u --at 2 app.tar app.tar /etc        # since layer 2
  mica diff --ignore none --exit-code build1.tar build2.tar`,
		ValidArgsFunction: f.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			switch len(args) {
			case 0:
				return &usageError{err: errors.New("DIR, or OLD and NEW missing")}
			case 1:
				return f.runChanged(cmd, std, args[0])
			case 2, 3:
			default:
				return &usageError{err: fmt.Errorf("unexpected operand %q", args[3])}
			}
			if f.image != "" {
				return &usageError{err: errors.New("--image goes with DIR alone")}
			}
			if len(args) > 2 {
				path = args[2]
			}
			return f.run(cmd, std, args[0], args[1], path)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "take OLD as it was after layer `LAYER`: its number as in mica layers,\n-1 for all but the top one, or a pattern of the command that made it")
	flags.StringVar(&f.toAt, "to-at", "", "take NEW as it was after layer `LAYER`")
	flags.StringSliceVar(&f.ignore, "ignore", []string{"mtime"}, "do not compare these, a list of `WORDS` (default mtime); none compares all")
	flags.BoolVar(&f.stat, "stat", false, "print how many bytes more or less each path has, what differs, and sums")
	flags.BoolVarP(&f.unified, "unified", "u", false, "print patches of text files, which git apply and patch -p1 can read")
	flags.BoolVar(&f.nameOnly, "name-only", false, "print paths alone")
	flags.BoolVar(&f.exitCode, "exit-code", false, "exit with status 1 if there are changes")
	addChoice(flags, &f.format, "format", "what to print", "text", "json")
	f.add(flags)
	f.addImage(flags)
	return cmd
}

func (f *diffFlags) complete(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) < 2 {
		names, images := f.completeImages(cmd, args, word)
		if len(args) == 0 && len(names) == 0 {
			if changed, how := f.completeChanged(word); len(changed) > 0 {
				return changed, how
			}
		}
		return names, images
	}
	return f.completeImageThenPaths(cmd, args[1:], word)
}

func (f *diffFlags) run(cmd *cobra.Command, std streams, oldRef, newRef, path string) (err error) {
	ignore, err := f.ignored()
	if err != nil {
		return err
	}
	from, err := f.side(cmd.Context(), std, oldRef, "at", f.at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	to, err := f.side(cmd.Context(), std, newRef, "to-at", f.toAt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	changes, err := diff.Compare(cmd.Context(), from, to, path, ignore)
	if errors.Is(err, iofs.ErrNotExist) && path != "" {
		return &argError{path, errNeither}
	}
	if err != nil {
		return err
	}
	p := &diffPrinter{diffFlags: f, from: from.Side, to: to.Side, modified: 'M', shared: sharedLayers(from, to)}
	return p.printAll(cmd.Context(), std, changes)
}

// A diffPrinter prints changes as the flags say.
type diffPrinter struct {
	*diffFlags
	from, to diff.Opener
	modified byte   // the letter of what is on both sides
	shared   string // what --stat says besides
	terminal bool
}

// printAll prints all changes there are.
func (p *diffPrinter) printAll(ctx context.Context, std streams, changes []diff.Change) error {
	p.terminal = isTerminal(std.out)
	w := bufio.NewWriter(std.out)
	if err := errors.Join(p.print(ctx, w, changes), w.Flush()); err != nil {
		return err
	}
	if p.exitCode && len(changes) > 0 {
		return &toldError{exitFailed}
	}
	return nil
}

// letter is that of a change.
func (p *diffPrinter) letter(c *diff.Change) byte {
	if l := c.Letter(); l != 'M' {
		return l
	}
	return p.modified
}

// errNeither says of a path that neither side has it.
var errNeither = fmt.Errorf("on neither side: %w", unix.ENOENT)

// ignored gives what --ignore says.
func (f *diffFlags) ignored() (ignore diff.Aspects, err error) {
	set := 0
	for _, is := range []bool{f.stat, f.unified, f.nameOnly, f.format.word == "json"} {
		if is {
			set++
		}
	}
	if set > 1 {
		return 0, &usageError{err: errors.New("one of --stat, --unified, --name-only and --format json")}
	}
	for _, word := range f.ignore {
		if word == "none" && len(f.ignore) == 1 {
			return 0, nil
		}
		aspect, err := diff.ParseAspect(word)
		if err != nil {
			return 0, &usageError{err: fmt.Errorf("--ignore: %w", err)}
		}
		ignore |= aspect
	}
	return ignore, nil
}

// A diffSide is one of the two that are compared.
type diffSide struct {
	diff.Side
	img *openImage // nil for a directory
}

func (s *diffSide) close() error {
	if s.img == nil {
		return nil
	}
	return s.img.Close()
}

// side opens an operand: an image, perhaps up to a layer, or else a directory.
func (f *diffFlags) side(ctx context.Context, std streams, ref, flag, at string) (*diffSide, error) {
	flags := f.imageFlags
	flags.part.at = at
	img, err := flags.open(ctx, ref, flags.show(std.err))
	if err == nil {
		return &diffSide{diff.Image(img.View, img.Holds()), img}, nil
	}
	if st, serr := os.Stat(ref); errors.As(err, new(*transport.NotImageError)) && serr == nil && st.IsDir() {
		if at != "" {
			return nil, &argError{ref, fmt.Errorf("--%s: a directory has no layers", flag)}
		}
		return &diffSide{Side: diff.Directory(ref)}, nil
	}
	return nil, err
}

func (p *diffPrinter) print(ctx context.Context, w *bufio.Writer, changes []diff.Change) error {
	switch {
	case p.format.word == "json":
		list := newJSONList(w)
		for i := range changes {
			if err := list.add(newChangeJSON(&changes[i])); err != nil {
				return err
			}
		}
		return list.close()
	case p.stat:
		return p.printStat(w, changes)
	case p.unified:
		return p.printPatches(ctx, w, changes)
	}
	for i := range changes {
		c := &changes[i]
		if !p.nameOnly {
			fmt.Fprintf(w, "%c ", p.letter(c))
		}
		fmt.Fprintf(w, "/%s\n", nameFor(p.terminal, c.Path))
	}
	return nil
}

// printPatches prints a patch for each change that one can be made of. What it
// cannot say is in a line of its own, which tools that apply patches skip.
func (p *diffPrinter) printPatches(ctx context.Context, w *bufio.Writer, changes []diff.Change) error {
	for i := range changes {
		c := &changes[i]
		if rest := unsaid(c); rest != "" {
			fmt.Fprintf(w, "# %c /%s%s\n", p.letter(c), printable(c.Path), rest)
		}
		var out io.Writer = w
		if p.terminal {
			out = patchForTerminal{w}
		}
		if err := diff.WritePatch(ctx, out, p.from, p.to, c); err != nil {
			return err
		}
	}
	return nil
}

// patchForTerminal takes out of patches what a terminal obeys.
type patchForTerminal struct{ w *bufio.Writer }

func (t patchForTerminal) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		text, newline := strings.CutSuffix(line, "\n")
		t.w.WriteString(strings.ReplaceAll(printable(strings.ReplaceAll(text, "\t", "\x00")), `\x00`, "\t"))
		if newline {
			t.w.WriteByte('\n')
		}
	}
	return len(p), nil // what a write has failed with comes again from Flush
}

// unsaid gives what of a change no patch can say: " owner 0:0 -> 1:1".
func unsaid(c *diff.Change) string {
	if c.From == nil || c.To == nil {
		f := c.From
		if f == nil {
			f = c.To
		}
		if kind := typeWord(f.Mode); kind != "file" && kind != "symlink" {
			return " " + kind
		}
		return ""
	}
	var parts []string
	for _, what := range c.What.Words() {
		switch what {
		case "type":
			parts = append(parts, fmt.Sprintf("type %s -> %s", typeWord(c.From.Mode), typeWord(c.To.Mode)))
		case "owner":
			parts = append(parts, fmt.Sprintf("owner %d:%d -> %d:%d", c.From.UID, c.From.GID, c.To.UID, c.To.GID))
		case "mode":
			if typeWord(c.From.Mode) != "file" {
				parts = append(parts, fmt.Sprintf("mode %s -> %s", octal(c.From.Mode), octal(c.To.Mode)))
			}
		case "xattr", "device", "mtime":
			parts = append(parts, what)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, ", ")
}

func (p *diffPrinter) printStat(w *bufio.Writer, changes []diff.Change) error {
	var rows [][]string
	counts := map[byte]int{}
	net := int64(0)
	for i := range changes {
		c := &changes[i]
		n := fileSize(c.To) - fileSize(c.From)
		net += n
		counts[c.Letter()]++
		what := "-"
		if c.What != 0 {
			what = strings.Join(c.What.Words(), ",")
		}
		rows = append(rows, []string{string(p.letter(c)), signedSize(n), what, "/" + c.Path})
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d added, %d deleted, %d modified, %s net%s\n",
		counts['A'], counts['D'], counts['M'], signedSize(net), p.shared)
	return err
}

func fileSize(f *diff.File) int64 {
	if f == nil {
		return 0
	}
	return f.Size
}

func signedSize(n int64) string {
	switch {
	case n < 0:
		return "-" + size(-n)
	case n > 0:
		return "+" + size(n)
	}
	return "0B"
}

// sharedLayers says how many layers of the new image are in the old one too.
func sharedLayers(from, to *diffSide) string {
	if from.img == nil || to.img == nil {
		return ""
	}
	has := map[string]bool{}
	for _, l := range from.img.Layers() {
		has[l.DiffID] = true
	}
	n := 0
	for _, l := range to.img.Layers() {
		if has[l.DiffID] {
			n++
		}
	}
	return fmt.Sprintf("; %d of %s shared", n, plural(len(to.img.Layers()), "layer"))
}

// A changeJSON is a change as programs are told of it.
type changeJSON struct {
	Path    string        `json:"path"`
	RawPath []byte        `json:"rawPath,omitempty"` // base64; only where the path is not UTF-8
	Change  string        `json:"change"`            // "added", "deleted" or "modified"
	What    []string      `json:"what,omitempty"`    // in what respects it was modified
	From    *diffFileJSON `json:"from,omitempty"`
	To      *diffFileJSON `json:"to,omitempty"`
}

// A diffFileJSON is one side of a change.
type diffFileJSON struct {
	Type   string            `json:"type"`
	Mode   string            `json:"mode"` // permissions, octal: "0755"
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Size   int64             `json:"size"`
	MTime  string            `json:"mtime"` // RFC 3339, UTC, in nanoseconds
	Major  *uint32           `json:"major,omitempty"`
	Minor  *uint32           `json:"minor,omitempty"`
	Target *string           `json:"target,omitempty"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"` // values in base64
}

func newChangeJSON(c *diff.Change) changeJSON {
	words := map[byte]string{'A': "added", 'D': "deleted", 'M': "modified"}
	j := changeJSON{Path: "/" + c.Path, Change: words[c.Letter()], What: c.What.Words(), From: newDiffFileJSON(c.From), To: newDiffFileJSON(c.To)}
	if !utf8.ValidString(c.Path) {
		j.RawPath = []byte(j.Path)
	}
	return j
}

func newDiffFileJSON(f *diff.File) *diffFileJSON {
	if f == nil {
		return nil
	}
	j := &diffFileJSON{Type: typeWord(f.Mode), Mode: octal(f.Mode), UID: f.UID, GID: f.GID, Size: f.Size, MTime: f.Mtime.Time().Format(time.RFC3339Nano)}
	switch f.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		j.Major, j.Minor = &f.Major, &f.Minor
	case unix.S_IFLNK:
		j.Target = &f.Target
	}
	for _, x := range f.Xattrs {
		if j.Xattrs == nil {
			j.Xattrs = map[string][]byte{}
		}
		j.Xattrs[x.Name] = x.Value
	}
	return j
}
