package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
)

// A tree is all that a program can see of a directory tree: its nodes by their
// paths, "." being the root.
type tree map[string]node

type node struct {
	Mode     uint32 // type and permissions, as in stat(2)
	UID, GID uint32
	Size     int64 // of a regular file or a symlink; filesystems differ on others
	Mtime    unix.Timespec
	Rdev     uint64 // of a device
	Nlink    uint64 // of anything but a directory
	Group    string // the first path of the same inode, if it has several here
	Target   string // of a symlink
	Sum      string // SHA-256 of a regular file's contents, in hex
	Xattrs   string // sorted lines of name=value
	// AnyMtime marks a directory to whose time the image says nothing: it is
	// that of its unpacking.
	AnyMtime bool
}

// readTree reads all of the directory tree at root.
func readTree(root string) (tree, error) {
	return readTreeOr(root, func(err error) (node, error) { return node{}, err })
}

// readTreeOr is readTree that asks failed what stands for a node that cannot be
// read.
func readTreeOr(root string, failed func(error) (node, error)) (tree, error) {
	tr := tree{}
	rd := treeReader{root: root, groups: map[inode][]string{}, sums: map[inode]string{}}
	err := filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
		rel, n := "", node{}
		if rel, _ = filepath.Rel(root, path); err == nil {
			n, err = rd.node(path, rel, d)
		}
		if err != nil {
			if n, err = failed(err); err == nil && d != nil && d.IsDir() {
				err = filepath.SkipDir
			}
		}
		tr[rel] = n
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, paths := range rd.groups {
		if len(paths) == 1 {
			continue
		}
		first := slices.Min(paths)
		for _, p := range paths {
			n := tr[p]
			n.Group = first
			tr[p] = n
		}
	}
	return tr, nil
}

type inode struct{ dev, ino uint64 }

// A treeReader reads the nodes of a tree.
type treeReader struct {
	root   string
	groups map[inode][]string // paths of anything but directories
	sums   map[inode]string   // of files with several names
}

func (r *treeReader) node(path, rel string, d iofs.DirEntry) (n node, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return n, &iofs.PathError{Op: "lstat", Path: path, Err: err}
	}
	n = node{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim}
	id := inode{st.Dev, st.Ino}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.Size = st.Size
		if n.Sum = r.sums[id]; n.Sum == "" {
			if n.Sum, err = sumFile(path, st.Size); err != nil {
				return n, err
			}
		}
		if st.Nlink > 1 {
			r.sums[id] = n.Sum
		}
	case unix.S_IFLNK:
		n.Size = st.Size
		if n.Target, err = os.Readlink(path); err != nil {
			return n, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		n.Rdev = st.Rdev
	}
	// What readdir says of the type must be what stat says, except for the root,
	// which is not read out of a directory.
	if rel != "." && d.Type() != fileType(st.Mode) {
		return n, fmt.Errorf("%s: readdir has it as %v, stat as %v", path, d.Type(), fileType(st.Mode))
	}
	if !d.IsDir() {
		n.Nlink = uint64(st.Nlink)
		r.groups[id] = append(r.groups[id], rel)
	}
	n.Xattrs, err = xattrs(path)
	return n, err
}

func fileType(mode uint32) iofs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return iofs.ModeDir
	case unix.S_IFLNK:
		return iofs.ModeSymlink
	case unix.S_IFIFO:
		return iofs.ModeNamedPipe
	case unix.S_IFSOCK:
		return iofs.ModeSocket
	case unix.S_IFCHR:
		return iofs.ModeDevice | iofs.ModeCharDevice
	case unix.S_IFBLK:
		return iofs.ModeDevice
	}
	return 0
}

func sumFile(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("%s: %d bytes read, stat says %d", path, n, size)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// xattrs gives what listxattr(2) lists, with the values.
func xattrs(path string) (string, error) {
	n, err := unix.Llistxattr(path, nil)
	if n == 0 || errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	names := make([]byte, max(n, 0))
	if err == nil {
		n, err = unix.Llistxattr(path, names)
	}
	if err != nil {
		return "", &iofs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var lines []string
	for name := range bytes.SplitAfterSeq(names[:n], []byte{0}) {
		if name = bytes.TrimSuffix(name, []byte{0}); len(name) == 0 {
			break // the end of the list
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return "", &iofs.PathError{Op: "getxattr " + string(name), Path: path, Err: err}
		}
		lines = append(lines, fmt.Sprintf("%s=%q\n", name, value[:n]))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

// compare tells each difference between two trees, at most a screen of them.
func compare(want, got tree) error {
	const most = 20
	var diffs []string
	paths := maps.Clone(want)
	maps.Copy(paths, got)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		w, inWant := want[p]
		g, inGot := got[p]
		if w.AnyMtime {
			g.Mtime, g.AnyMtime = w.Mtime, true
		}
		switch {
		case !inGot:
			diffs = append(diffs, fmt.Sprintf("%q is missing", p))
		case !inWant:
			diffs = append(diffs, fmt.Sprintf("%q should not be there", p))
		case w != g:
			diffs = append(diffs, fmt.Sprintf("%q (-want +got):\n%s", p, cmp.Diff(w, g)))
		}
	}
	if len(diffs) == 0 {
		return nil
	}
	total := len(diffs)
	return fmt.Errorf("%d of %d nodes differ:\n%s", total, len(want), strings.Join(diffs[:min(total, most)], "\n"))
}

// mustReadTree is readTree for trees that have to be readable.
func mustReadTree(t *testing.T, root string) tree {
	t.Helper()
	tr, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// sameTree fails the test if two trees differ.
func sameTree(t *testing.T, want, got tree) {
	t.Helper()
	if len(want) < 2 {
		t.Fatalf("the tree to compare with has %d nodes", len(want))
	}
	if err := compare(want, got); err != nil {
		t.Error(err)
	}
}

// TestCompare changes one thing at a time in a small tree: each must be found,
// or the comparisons of the other tests are worth nothing.
func TestCompare(t *testing.T) {
	const make = `mkdir d && echo one >d/f && ln d/f d/g && ln -s f d/l && mkfifo d/p && truncate -s 5 d/z && touch d/h d/i &&
		touch -h -d @1000000000.123456789 d/* d .`
	build := func(t *testing.T, script string) tree {
		t.Helper()
		dir := t.TempDir()
		run(t, dir, "sh", "-ec", script)
		return mustReadTree(t, dir)
	}
	want := build(t, make)
	if err := compare(want, build(t, make)); err != nil {
		t.Fatalf("made twice by the same commands: %v", err)
	}
	const reset = " && touch -h -d @1000000000.123456789 d/* d ."
	for about, change := range map[string]string{
		"contents":        `echo two >d/f` + reset,
		"size":            `truncate -s 6 d/z` + reset,
		"mode":            `chmod 600 d/z`,
		"setuid":          `chmod u+s d/z`,
		"directory mode":  `chmod 700 d`,
		"root's mode":     `chmod 711 .`,
		"time, 1 ns":      `touch -d @1000000000.123456788 d/z`,
		"symlink's time":  `touch -h -d @1000000001 d/l`,
		"directory time":  `touch -d @1000000001 d`,
		"target":          `ln -sf g d/l` + reset,
		"type":            `rm d/p && touch d/p` + reset,
		"missing":         `rm d/z` + reset,
		"more":            `touch d/y` + reset,
		"link cut":        `cp d/g x && rm d/g && mv x d/g` + reset,
		"link elsewhere":  `ln -f d/h d/i` + reset,
		"link outside":    `ln d/h "$(mktemp -u -p ..)"`,
		"extended":        `setfattr -n user.a -v 1 d/z`,
		"owner":           `chown 7 d/z`,
		"group":           `chgrp 7 d/z`,
		"symlink's owner": `chown -h 7 d/l`,
		"directory owner": `chown 7 d`,
	} {
		t.Run(about, func(t *testing.T) {
			if strings.HasPrefix(change, "ch") && strings.Contains(change, " 7") || strings.Contains(change, "-h 7") {
				needRoot(t)
			}
			if strings.HasPrefix(change, "setfattr") {
				needTool(t, "setfattr")
			}
			if compare(want, build(t, make+" && "+change)) == nil {
				t.Errorf("not seen: %s", change)
			}
		})
	}
}
