package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/container"
	"mica/overlay/change"
	"mica/overlay/diff"
)

// runChanged tells what is changed against the image in an upper directory.
func (f *diffFlags) runChanged(cmd *cobra.Command, std streams, arg string) (err error) {
	if f.at != "" || f.toAt != "" {
		return &usageError{err: errors.New("--at and --to-at go with OLD and NEW")}
	}
	if !cmd.Flags().Changed("ignore") {
		f.ignore = []string{"none"} // a file whose time was set was changed
	}
	ignore, err := f.ignored()
	if err != nil {
		return err
	}
	c, err := f.openChanged(cmd.Context(), std, arg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	changes, err := listChanges(cmd, c.Tree, ignore)
	if err != nil {
		return &argError{arg, err}
	}
	if f.container != nil {
		changes = slices.DeleteFunc(changes, func(c diff.Change) bool { return mountpointOf(f.container, &c) })
	}
	if len(changes) > 0 && changes[0].Path == "" {
		changes = changes[1:] // the root, which docker does not tell either
	}
	p := &diffPrinter{diffFlags: f, from: c.From(), to: c.To(), modified: 'C'}
	return p.printAll(cmd.Context(), std, changes)
}

// mountpointOf reports whether a change is no more than a place that was made for
// what is mounted into a container.
func mountpointOf(c *container.Container, ch *diff.Change) bool {
	at := "/" + strings.Trim(ch.Path, "/")
	if ch.From != nil || ch.To == nil || ch.To.Mode&unix.S_IFMT == unix.S_IFREG && ch.To.Size > 0 {
		return false
	}
	return slices.ContainsFunc(c.Mountpoints(), func(m string) bool {
		return at == m || strings.HasPrefix(m, at+"/")
	})
}

// listChanges gives all changes but those that are to be ignored, by their paths.
func listChanges(cmd *cobra.Command, t *change.Tree, ignore diff.Aspects) (changes []diff.Change, err error) {
	err = t.Walk(cmd.Context(), func(c *change.Change) error {
		if c.What != 0 && c.What&^ignore == 0 {
			return nil
		}
		c.What &^= ignore
		changes = append(changes, c.Change)
		return nil
	})
	slices.SortStableFunc(changes, func(a, b diff.Change) int { return comparePaths(a.Path, b.Path) })
	return slices.CompactFunc(changes, func(a, b diff.Change) bool { return a.Path == b.Path }), err
}

// comparePaths orders paths as a walk meets them: a directory before what is in
// it, that before what comes after the directory.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}
