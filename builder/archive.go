package builder

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"mica/builder/source"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/scratch"
	"mica/layerstore/transport"
	"mica/overlay"
)

// archives lays out what is in the archives among the sources of an ADD, and
// gives the sources that are none. An archive is known by its contents
// (Dockerfile reference, "Adding local tar archives").
func (w *copyWork) archives(ctx context.Context, tree source.Tree, sums *source.Sums, dest string) (plain []string, err error) {
	for _, src := range w.SourcePaths {
		items, err := source.Select(ctx, tree, source.Request{Sources: []string{src}, DestDir: true})
		if err != nil || len(items) == 0 {
			plain = append(plain, src) // told with the others
			continue
		}
		// A pattern may mean several files.
		var found []source.Item
		for _, it := range items {
			if it.IsRegular() && !it.Implied {
				if ok, err := isArchive(ctx, tree, it.File); err != nil {
					return nil, err
				} else if ok {
					found = append(found, it)
				}
			}
		}
		if len(found) < len(items) || len(found) == 0 {
			plain = append(plain, src)
			continue
		}
		for _, it := range found {
			if err := w.addArchive(ctx, tree, it.File, dest); err != nil {
				return nil, fmt.Errorf("%s: %w", it.Entry.Path, err)
			}
		}
	}
	return plain, nil
}

// addArchive lays out what is in an archive.
func (w *copyWork) addArchive(ctx context.Context, tree source.Tree, f *source.File, dest string) error {
	c, err := tree.Open(ctx, f)
	if err != nil {
		return err
	}
	defer c.Close()
	files, closer, err := OpenTar(ctx, w.Images.Layers(), io.NewSectionReader(c, 0, f.Entry.Size))
	if err != nil {
		return err
	}
	w.opened = append(w.opened, closer)
	rewrite := w.rewrite
	if w.chown == "" {
		rewrite.Owner = nil // an archive has owners of its own
	}
	q := source.Request{Sources: []string{"."}, Exclude: w.exclude, Dest: dest, DestDir: true}
	return w.add(ctx, part{tree: files, rewrite: rewrite}, q)
}

// A spooled is a tar that is open.
type spooled struct {
	store *layerstore.Store
	file  *os.File
	blob  io.Closer
	img   *overlay.Image
	spec  layerstore.Spec
}

// OpenTar gives the files of a tar, compressed or not. It is copied to a file
// without a name, and indexed as a layer that stands alone: nothing is unpacked.
func OpenTar(ctx context.Context, store *layerstore.Store, r *io.SectionReader) (_ source.Tree, _ io.Closer, err error) {
	s := &spooled{store: store}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(store.Root(), 0o755); err != nil {
		return nil, nil, err
	}
	if s.file, err = scratch.File(store.Root()); err != nil {
		return nil, nil, err
	}
	h := digest.SHA256.Digester()
	if err := spool(ctx, io.MultiWriter(s.file, h.Hash()), r); err != nil {
		return nil, nil, err
	}
	src, err := transport.OpenBlob(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), h.Digest())
	if err != nil {
		return nil, nil, err
	}
	s.blob, s.spec = src, layerstore.Spec{Blob: src, Digest: h.Digest().String()}
	s.img, err = overlay.OpenImage(ctx, store, []overlay.Layer{{Spec: s.spec}}, overlay.Options{Alone: true})
	if err != nil {
		return nil, nil, err
	}
	return source.OfImage(s.img.View), s, nil
}

// Close lets go of the tar. Its index is not wanted again.
func (s *spooled) Close() error {
	var err error
	if s.img != nil {
		err = errors.Join(s.img.Close(), s.store.Forget(s.spec))
	}
	if s.blob != nil {
		err = errors.Join(err, s.blob.Close())
	}
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// spool copies a file, decompressed unless it is packed in a way that layers are.
func spool(ctx context.Context, to io.Writer, r *io.SectionReader) error {
	switch packedAs(r) {
	case blob.None, blob.Gzip, blob.Zstd:
		_, err := io.Copy(to, r)
		return err
	}
	plain, err := decompress(ctx, r)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, plain)
	return errors.Join(err, plain.Close())
}

// packedAs tells how a file is compressed.
func packedAs(r io.ReaderAt) blob.Compression {
	head := make([]byte, blob.SniffLen)
	n, _ := r.ReadAt(head, 0)
	return blob.Sniff(head[:n])
}

// isArchive reports whether a file is a tar, compressed or not.
func isArchive(ctx context.Context, tree source.Tree, f *source.File) (bool, error) {
	if f.Entry.Size == 0 {
		return false, nil
	}
	c, err := tree.Open(ctx, f)
	if err != nil {
		return false, err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plain, err := decompress(ctx, io.NewSectionReader(c, 0, f.Entry.Size))
	if errors.Is(err, errNoXz) {
		return false, err
	}
	if err != nil {
		return false, nil // no archive, whatever it is
	}
	_, err = tar.NewReader(plain).Next()
	cancel()
	plain.Close() // of a stream that was not read to its end
	return err == nil, nil
}

var errNoXz = errors.New("compressed with xz, which needs the program xz: apt install xz-utils")

// decompress gives the bytes of a file as they were before it was compressed.
func decompress(ctx context.Context, r *io.SectionReader) (io.ReadCloser, error) {
	head := make([]byte, 6)
	n, _ := r.ReadAt(head, 0)
	switch {
	case bytes.HasPrefix(head[:n], []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(r)), nil
	case bytes.HasPrefix(head[:n], []byte("\xfd7zXZ\x00")):
		return unxz(ctx, r)
	}
	switch packedAs(r) {
	case blob.Gzip:
		return gzip.NewReader(r)
	case blob.Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// unxz has xz(1) do it, as docker does.
func unxz(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	path, err := exec.LookPath("xz")
	if err != nil {
		return nil, errNoXz
	}
	cmd := exec.CommandContext(ctx, path, "-d", "-c", "-q")
	cmd.Stdin = r
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &program{out, cmd, &said}, nil
}

// A program is the output of one.
type program struct {
	io.ReadCloser
	cmd  *exec.Cmd
	said *bytes.Buffer
}

// Close ends it, and tells what it said if it failed.
func (p *program) Close() error {
	p.ReadCloser.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w %s", p.cmd.Path, err, strings.TrimSpace(p.said.String()))
	}
	return nil
}
