package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mica/overlay"
)

type lsFlags struct {
	imageFlags
	long, recursive, all, directory, numeric, human, one bool
	format                                               choice
}

func newLs(std streams) *cobra.Command {
	var f lsFlags
	cmd := &cobra.Command{
		Use:   "ls [flags] IMAGE [PATH…]",
		Short: "List directories of an image",
		Long: `List directories of an image, as ls(1) does; PATH is / unless given. Owners
are named as the image's own /etc/passwd and /etc/group have them.

With --format json it is an array of objects: path, type (file, directory,
symlink, char-device, block-device, fifo), mode (octal), uid, gid, user, group,
size, mtime (RFC 3339), inode, nlink, major and minor of devices, target of
symlinks, layer (1 is the lowest); rawPath and rawTarget, base64, where those
are not UTF-8.`,
		Example: `  mica ls debian.tar                       # the root directory
  mica ls -lR oci:/srv/images:web /etc     # with everything below, in full
  mica ls --format json debian.tar /usr/bin | jq '.[] | select(.mode > "3777")'`,
		ValidArgsFunction: f.completeImageThenPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, std, args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.long, "long", "l", false, "one line a file: mode, links, owner, size, time")
	flags.BoolVarP(&f.recursive, "recursive", "R", false, "subdirectories too")
	flags.BoolVarP(&f.all, "all", "a", false, "names that begin with a dot too")
	flags.BoolVarP(&f.directory, "directory", "d", false, "directories themselves, not what is in them")
	flags.BoolVarP(&f.numeric, "numeric-uid-gid", "n", false, "as -l, with numbers for owners")
	flags.BoolVarP(&f.human, "human-readable", "h", false, "sizes in K, M, G")
	flags.BoolVarP(&f.one, "one", "1", false, "one name a line, as always when not on a terminal")
	addChoice(flags, &f.format, "format", "what to print", "text", "json")
	flags.Bool("help", false, "help for ls") // without the -h of other commands
	f.add(flags)
	return cmd
}

func (f *lsFlags) run(cmd *cobra.Command, std streams, ref string, paths []string) (err error) {
	f.long = f.long || f.numeric
	ctx := cmd.Context()
	img, err := f.open(ctx, ref, f.show(std.err))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	l := lister{lsFlags: f, view: img.View, terminal: isTerminal(std.out), width: width(std.out), now: time.Now()}
	failures := &pathErrors{cmd: cmd, stderr: std.err, image: ref}
	if l.long && !l.numeric || l.format.word == "json" {
		if l.names, err = failures.owners(ctx, img.View); err != nil {
			return err
		}
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	files, dirs, err := l.look(ctx, paths, failures)
	if err != nil {
		return err
	}
	titled := f.recursive || len(paths) > 1
	if l.format.word == "json" {
		list := newJSONList(std.out)
		l.out = func(g lsGroup) error { return l.putJSON(list, g) }
		err = errors.Join(l.list(ctx, files, dirs, titled), list.close())
	} else {
		w := bufio.NewWriterSize(std.out, 1<<16)
		l.out = func(g lsGroup) error { return l.put(w, g) }
		err = errors.Join(l.list(ctx, files, dirs, titled), w.Flush())
	}
	return errors.Join(err, failures.err())
}

// A listed is a file to be listed.
type listed struct {
	name string // as it is printed
	path string
	attr overlay.Attr
}

// A lister lists files as ls(1) does.
type lister struct {
	*lsFlags
	view     *overlay.View
	names    owners
	terminal bool // where the output goes
	width    int  // of it, in columns; 0 is without end
	now      time.Time
	out      func(lsGroup) error

	printed bool // something
}

// A lsGroup is what stands together: the files that were named, or those of a
// directory.
type lsGroup struct {
	title string // path of the directory, if that is to be told
	isDir bool
	files []listed
}

// look finds what was named, and parts it into files and directories to be
// opened, both in the order of their names.
func (l *lister) look(ctx context.Context, paths []string, failures *pathErrors) (files, dirs []listed, err error) {
	for _, path := range paths {
		a, err := l.view.Lstat(path)
		if err == nil && isSymlink(a) && !l.long && !l.directory {
			// Where only names are told a link to a directory stands for it.
			if to, err := l.view.Stat(path); err == nil && isDir(to) {
				a = to
			}
		}
		switch {
		case err != nil:
			if err := failures.failed(ctx, path, err); err != nil {
				return nil, nil, err
			}
		case isDir(a) && !l.directory:
			dirs = append(dirs, listed{path, path, a})
		default:
			files = append(files, listed{path, path, a})
		}
	}
	byName := func(a, b listed) int { return strings.Compare(a.name, b.name) }
	slices.SortStableFunc(files, byName)
	slices.SortStableFunc(dirs, byName)
	return files, dirs, nil
}

// list lists files, then directories, with a title each if so asked.
func (l *lister) list(ctx context.Context, files, dirs []listed, titled bool) error {
	if len(files) > 0 {
		if err := l.out(lsGroup{files: files}); err != nil {
			return err
		}
	}
	slices.Reverse(dirs)
	for len(dirs) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		children, err := l.children(dir)
		if err != nil {
			return err
		}
		g := lsGroup{isDir: true, files: children}
		if titled {
			g.title = dir.path
		}
		if err := l.out(g); err != nil {
			return err
		}
		if l.recursive {
			for _, c := range slices.Backward(children) {
				if isDir(c.attr) && c.name != "." && c.name != ".." {
					dirs = append(dirs, c)
				}
			}
		}
	}
	return nil
}

func (l *lister) children(dir listed) ([]listed, error) {
	prefix := dir.path
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	var files []listed
	if l.all {
		parent, err := l.view.Parent(dir.attr.ID)
		if err != nil {
			return nil, err
		}
		a, err := l.view.Attr(parent)
		if err != nil {
			return nil, err
		}
		files = append(files, listed{".", prefix + ".", dir.attr}, listed{"..", prefix + "..", a})
	}
	err := l.view.ReadDir(dir.attr.ID, 0, func(name string, a overlay.Attr, _ uint64) bool {
		if l.all || !strings.HasPrefix(name, ".") {
			files = append(files, listed{name, prefix + name, a})
		}
		return true
	})
	return files, err
}

func (l *lister) putJSON(list *jsonList, g lsGroup) error {
	for _, f := range g.files {
		object, err := newFileJSON(l.view, f.path, f.attr, l.names)
		if err != nil {
			return err
		}
		if err := list.add(object); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) put(w *bufio.Writer, g lsGroup) error {
	if l.printed {
		fmt.Fprintln(w)
	}
	l.printed = true
	if g.title != "" {
		fmt.Fprintf(w, "%s:\n", nameFor(l.terminal, g.title))
	}
	if l.long {
		return l.putLong(w, g)
	}
	names := make([]string, len(g.files))
	for i, f := range g.files {
		names[i] = nameFor(l.terminal, f.name)
	}
	if l.terminal && !l.one {
		return putColumns(w, l.width, names)
	}
	for _, name := range names {
		w.WriteString(name)
		w.WriteByte('\n')
	}
	return nil
}
