package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"mica/builder"
	"mica/builder/dockerfile"
	"mica/builder/source"
	"mica/layerstore"
)

// A buildContext is what a build is made of: the Dockerfile, and files.
type buildContext struct {
	name       string // of the Dockerfile, for people
	dockerfile []byte
	tree       source.Tree
	dir        string // where tree lies if nothing is left out of it; "" else
	sums       *source.Sums
	sumsPath   string
	closers    []io.Closer
}

// close lets go of the files, and keeps what is known of them.
func (c *buildContext) close() error {
	var err error
	for _, f := range c.closers {
		err = errors.Join(err, f.Close())
	}
	if c.sumsPath != "" {
		// A cache: without it files are read again.
		_ = os.MkdirAll(filepath.Dir(c.sumsPath), 0o755)
		_ = c.sums.Save(c.sumsPath)
	}
	return err
}

// openContext opens the files of a build and reads its Dockerfile.
func (b *imageBuilder) openContext(ctx context.Context, store *layerstore.Store, arg string) (_ *buildContext, err error) {
	c := &buildContext{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if arg == "-" {
		if b.file == "-" {
			return nil, &usageError{err: errors.New("both CONTEXT and --file are standard input")}
		}
		err = c.fromStdin(ctx, store, b.std)
	} else {
		err = c.fromPath(ctx, store, arg)
	}
	if err != nil || c.dockerfile != nil {
		return c, err
	}
	return c, b.readDockerfile(ctx, c, arg)
}

// fromPath opens a directory or a tar.
func (c *buildContext) fromPath(ctx context.Context, store *layerstore.Store, arg string) error {
	for _, prefix := range []string{"http://", "https://", "git://", "git@", "ssh://", "github.com/"} {
		if strings.HasPrefix(arg, prefix) {
			return &usageError{err: errors.New("a context is not fetched"), hint: "git clone, and the directory"}
		}
	}
	st, err := os.Stat(arg)
	if err != nil {
		return bare(err)
	}
	if !st.IsDir() {
		f, err := os.Open(arg)
		if err != nil {
			return bare(err)
		}
		defer f.Close()
		return c.fromTar(ctx, store, f, st.Size())
	}
	dir, err := source.OpenDirectory(arg)
	if err != nil {
		return bare(err)
	}
	c.closers = append(c.closers, dir)
	c.tree = dir
	if c.dir, err = filepath.Abs(arg); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(c.dir))
	c.sumsPath = filepath.Join(builder.Dir(store), "sums", hex.EncodeToString(key[:16]))
	c.sums, err = source.LoadSums(c.sumsPath)
	return err
}

func (c *buildContext) fromTar(ctx context.Context, store *layerstore.Store, r io.ReaderAt, size int64) error {
	tree, closer, err := builder.OpenTar(ctx, store, io.NewSectionReader(r, 0, size))
	if err != nil {
		return err
	}
	c.tree, c.closers = tree, append(c.closers, closer)
	return nil
}

// fromStdin takes a tar, or a Dockerfile without any files.
func (c *buildContext) fromStdin(ctx context.Context, store *layerstore.Store, std streams) error {
	if isTerminal(std.in) {
		return &usageError{err: errors.New("standard input is a terminal")}
	}
	head, err := io.ReadAll(io.LimitReader(std.in, dockerfile.MaxSize+1))
	if err != nil {
		return err
	}
	if bytes.IndexByte(head[:min(len(head), 1024)], 0) < 0 && len(head) <= dockerfile.MaxSize {
		c.name, c.dockerfile, c.tree = "standard input", head, source.Memory{}
		return nil
	}
	if err := os.MkdirAll(store.Root(), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(store.Root(), ".context-")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), std.in))
	if err != nil {
		return err
	}
	return c.fromTar(ctx, store, f, n)
}

// readDockerfile reads the Dockerfile, and what .dockerignore leaves out.
func (b *imageBuilder) readDockerfile(ctx context.Context, c *buildContext, arg string) error {
	var err error
	ignore := ""
	switch {
	case b.file == "-":
		c.name = "standard input"
		c.dockerfile, err = io.ReadAll(io.LimitReader(b.std.in, dockerfile.MaxSize+1))
	case b.file != "" && (c.dir != "" || strings.HasPrefix(b.file, "/")):
		ignore, err = c.fileAt(b.file)
	default:
		err = c.fileIn(ctx, b.file)
		ignore = c.name
	}
	if err != nil {
		return err
	}
	return c.leaveOut(ctx, ignore)
}

// fileAt reads a Dockerfile by its path, from the working directory or else from
// the context. It gives the path.
func (c *buildContext) fileAt(name string) (string, error) {
	at := name
	if _, err := os.Stat(at); errors.Is(err, iofs.ErrNotExist) && !filepath.IsAbs(name) {
		if _, err := os.Stat(filepath.Join(c.dir, name)); err == nil {
			at = filepath.Join(c.dir, name)
		}
	}
	st, err := os.Stat(at)
	if err == nil && st.Size() > dockerfile.MaxSize {
		return "", &argError{name, errors.New(tooLong(st.Size()))}
	}
	c.name = name
	if c.dockerfile, err = os.ReadFile(at); err != nil {
		return "", &argError{name, bare(err)}
	}
	return at, nil
}

func tooLong(n int64) string {
	return strconv.FormatInt(n, 10) + " bytes long; a Dockerfile has " + size(dockerfile.MaxSize) + " at most"
}

// fileIn reads a Dockerfile of the context.
func (c *buildContext) fileIn(ctx context.Context, name string) (err error) {
	names := []string{name}
	if name == "" {
		names = []string{"Dockerfile", "Containerfile"}
	}
	for _, c.name = range names {
		c.dockerfile, err = source.ReadFile(ctx, c.tree, c.name, dockerfile.MaxSize)
		if !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	c.name = names[0]
	return &notFoundError{fmt.Sprintf("no %s in it; -f FILE names another", strings.Join(names, " and no "))}
}

// maxIgnore is how long a .dockerignore may be, in bytes.
const maxIgnore = 1 << 20

// leaveOut leaves out of the files what NAME.dockerignore beside the Dockerfile
// says, or else .dockerignore.
func (c *buildContext) leaveOut(ctx context.Context, beside string) error {
	var text []byte
	err := error(iofs.ErrNotExist)
	if beside != "" {
		beside += ".dockerignore"
		if c.dir != "" && filepath.IsAbs(beside) || strings.Contains(beside, "/") {
			text, err = os.ReadFile(beside)
		} else {
			text, err = source.ReadFile(ctx, c.tree, path.Clean(beside), maxIgnore)
		}
	}
	if errors.Is(err, iofs.ErrNotExist) {
		text, err = source.ReadFile(ctx, c.tree, ".dockerignore", maxIgnore)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	patterns, err := source.ReadIgnore(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if len(patterns) > 0 {
		c.dir = ""
	}
	c.tree, err = source.Ignoring(c.tree, patterns)
	return err
}
