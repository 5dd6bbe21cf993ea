package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"mica/overlay"
)

type treeFlags struct {
	imageFlags
	level     int
	dirs, all bool
}

func newTree(std streams) *cobra.Command {
	var f treeFlags
	cmd := &cobra.Command{
		Use:   "tree [flags] IMAGE [PATH]",
		Short: "Draw the directories of an image",
		Long: `Draw a directory of an image and all below it, as tree(1) does; PATH is / unless
given.`,
		Example: `  mica tree -L 2 debian.tar                # two levels down
  mica tree -d oci:/srv/images:web /usr    # directories only
  mica tree -a app.tar /root               # names that begin with a dot too`,
		ValidArgsFunction: f.completeImageThenPaths,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if cmd.Flags().Changed("level") && f.level < 1 {
				return &usageError{err: errors.New("--level must be at least 1")}
			}
			path := "/"
			if len(args) > 1 {
				path = args[1]
			}
			img, err := f.open(cmd.Context(), args[0], f.show(std.err))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, img.Close()) }()
			start, err := img.Stat(path)
			if err == nil && !isDir(start) {
				err = overlay.ErrNotDir
			}
			if err != nil {
				return &argError{args[0], fmt.Errorf("%s: %w", path, err)}
			}
			d := drawer{treeFlags: &f, view: img.View, w: bufio.NewWriterSize(std.out, 1<<16)}
			return d.draw(cmd.Context(), path, start.ID)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&f.level, "level", "L", math.MaxInt, "go down `N` levels")
	flags.Lookup("level").DefValue = "0" // not told
	flags.BoolVarP(&f.dirs, "dirs", "d", false, "directories only")
	flags.BoolVarP(&f.all, "all", "a", false, "names that begin with a dot too")
	f.add(flags)
	return cmd
}

// A drawer draws trees as tree(1) does.
type drawer struct {
	*treeFlags
	view *overlay.View
	w    *bufio.Writer

	numDirs, numFiles int
}

func (d *drawer) draw(ctx context.Context, path string, id overlay.NodeID) error {
	d.numDirs = 1
	fmt.Fprintln(d.w, printable(path))
	if err := d.children(ctx, strings.TrimRight(path, "/")+"/", "", id, 1); err != nil {
		return err
	}
	fmt.Fprintf(d.w, "\n%d director%s", d.numDirs, map[bool]string{true: "y", false: "ies"}[d.numDirs == 1])
	if !d.dirs {
		fmt.Fprintf(d.w, ", %s", plural(d.numFiles, "file"))
	}
	fmt.Fprintln(d.w)
	return d.w.Flush()
}

// children draws what is in a directory. path ends in a slash, prefix is what
// each line begins with.
func (d *drawer) children(ctx context.Context, path, prefix string, id overlay.NodeID, level int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	files, err := d.shown(path, id)
	if err != nil {
		return err
	}
	for i, f := range files {
		branch, below := "├── ", "│\u00a0\u00a0 "
		if i == len(files)-1 {
			branch, below = "└── ", "    "
		}
		text := printable(f.name)
		if isSymlink(f.attr) {
			target, err := d.view.Readlink(f.attr.ID)
			if err != nil {
				return err
			}
			text += " -> " + printable(target)
		}
		d.w.WriteString(prefix + branch + text)
		if err := d.w.WriteByte('\n'); err != nil {
			return err
		}
		if isDir(f.attr) && level < d.level {
			if err := d.children(ctx, f.path+"/", prefix+below, f.attr.ID, level+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// shown gives the children of a directory that are to be drawn, and counts
// them. A symlink to a directory counts as one.
func (d *drawer) shown(path string, id overlay.NodeID) ([]listed, error) {
	var files []listed
	err := d.view.ReadDir(id, 0, func(name string, a overlay.Attr, _ uint64) bool {
		if !d.all && strings.HasPrefix(name, ".") {
			return true
		}
		f := listed{name, path + name, a}
		if d.leadsToDir(f) {
			d.numDirs++
		} else if d.dirs {
			return true
		} else {
			d.numFiles++
		}
		files = append(files, f)
		return true
	})
	return files, err
}

func (d *drawer) leadsToDir(f listed) bool {
	if !isSymlink(f.attr) {
		return isDir(f.attr)
	}
	to, err := d.view.Stat(f.path)
	return err == nil && isDir(to)
}
