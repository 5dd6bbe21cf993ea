package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

type statFlags struct {
	imageFlags
	follow bool
	format choice
}

func newStat(std streams) *cobra.Command {
	var f statFlags
	cmd := &cobra.Command{
		Use:   "stat [flags] IMAGE PATH…",
		Short: "Tell all about files of an image, and the layer they come from",
		Long: `Tell all about files of an image, as stat(1) does, and which layer they come
from: its number, 1 being the lowest, its digest, and the command that made it.
An image has one time a file, that of its last modification.

With --format json it is an array of objects: those of mica ls, and blocks (of
512 bytes), layers (how many the image has), digest, history, and xattrs, their
values in base64.`,
		Example: `  mica stat debian.tar /etc/debian_version
  mica stat -L oci:/srv/images:web /bin/sh
  mica stat --format json app.tar /usr/bin/app | jq -r '.[].history'`,
		ValidArgsFunction: f.completeImageThenPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, std, args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "dereference", "L", false, "follow symbolic links")
	addChoice(flags, &f.format, "format", "what to print", "text", "json")
	f.add(flags)
	return cmd
}

func (f *statFlags) run(cmd *cobra.Command, std streams, ref string, paths []string) (err error) {
	ctx := cmd.Context()
	img, err := f.open(ctx, ref, f.show(std.err))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	failures := &pathErrors{cmd: cmd, stderr: std.err, image: ref}
	names, err := failures.owners(ctx, img.View)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(std.out)
	put := func(s statJSON) error { return putStat(w, s, nameFor(isTerminal(std.out), s.Path)) }
	end := w.Flush
	if f.format.word == "json" {
		list := newJSONList(std.out)
		put = func(s statJSON) error { return list.add(s) }
		end = list.close
	}
	look := img.Lstat
	if f.follow {
		look = img.Stat
	}
	for _, path := range paths {
		a, err := look(path)
		if err != nil {
			if err := failures.failed(ctx, path, err); err != nil {
				return err
			}
			continue
		}
		s, err := newStatJSON(img.View, path, a, names)
		if err == nil {
			err = put(s)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(end(), failures.err())
}

// A statJSON is all that is known of a file.
type statJSON struct {
	fileJSON
	Blocks  int64             `json:"blocks"` // of 512 bytes
	Layers  int               `json:"layers"` // how many the image has
	Digest  string            `json:"digest,omitempty"`
	History string            `json:"history,omitempty"`
	Xattrs  map[string][]byte `json:"xattrs,omitempty"`

	mode  uint32
	mtime toc.Time
	attrs []toc.Xattr // Xattrs in order
}

func newStatJSON(v *overlay.View, path string, a overlay.Attr, names owners) (s statJSON, err error) {
	s = statJSON{Blocks: a.Blocks, Layers: len(v.Layers()), mode: a.Mode, mtime: a.Mtime}
	if s.fileJSON, err = newFileJSON(v, path, a, names); err != nil {
		return s, err
	}
	if s.Layer <= len(v.Layers()) { // not the root of an image without layers
		l := v.Layers()[s.Layer-1]
		s.Digest, s.History = l.Digest, l.History
	}
	if s.attrs, err = v.Tree.Xattrs(a.ID); err != nil {
		return s, err
	}
	for _, x := range s.attrs {
		if s.Xattrs == nil {
			s.Xattrs = map[string][]byte{}
		}
		s.Xattrs[x.Name] = x.Value
	}
	return s, nil
}

// putStat prints what stat(1) does, as far as an image has it, and more.
func putStat(w io.Writer, s statJSON, name string) error {
	if s.Target != nil {
		name += " -> " + printable(*s.Target)
	}
	fmt.Fprintf(w, "  File: %s\n", name)
	fmt.Fprintf(w, "  Size: %-10d\tBlocks: %-10d IO Block: 4096   %s\n", s.Size, s.Blocks, kindWords(s.mode, s.Size))
	fmt.Fprintf(w, " Inode: %-10d\tLinks: %d", s.Inode, s.Nlink)
	if s.Major != nil {
		fmt.Fprintf(w, "     Device type: %d,%d", *s.Major, *s.Minor)
	}
	fmt.Fprintf(w, "\nAccess: (%s/%s)  Uid: (%5d/%8s)   Gid: (%5d/%8s)\n",
		s.Mode, modeString(s.mode), s.UID, orUnknown(s.User), s.GID, orUnknown(s.Group))
	fmt.Fprintf(w, "Modify: %s\n", s.mtime.Time().Local().Format("2006-01-02 15:04:05.000000000 -0700"))
	for _, x := range s.attrs {
		fmt.Fprintf(w, " Xattr: %s=%s\n", printable(x.Name), xattrText(x.Value))
	}
	_, err := fmt.Fprintf(w, " Layer: %d/%d %s\n", s.Layer, s.Layers, s.Digest)
	if s.History != "" {
		_, err = fmt.Fprintf(w, "  From: %s\n", printable(s.History))
	}
	return err
}

// kindWords names a kind of file as stat(1) does.
func kindWords(mode uint32, size int64) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		if size == 0 {
			return "regular empty file"
		}
		return "regular file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFCHR:
		return "character special file"
	case unix.S_IFBLK:
		return "block special file"
	case unix.S_IFIFO:
		return "fifo"
	}
	return "weird file"
}

func orUnknown(name string) string {
	if name == "" {
		return "UNKNOWN" // stat(1)'s word
	}
	return name
}

// xattrText gives the value of an attribute as getfattr(1) does: text in
// quotes, what is none as hexadecimal digits.
func xattrText(value []byte) string {
	text := strings.TrimSuffix(string(value), "\x00")
	if printable(text) != text {
		return fmt.Sprintf("0x%x", value)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
