package layerstore

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"mica/layerstore/toc"
)

// Some layers carry a table of contents of their own: eStargz
// (stargz-snapshotter docs/estargz.md) and zstd:chunked (containers/storage
// docs/containers-storage-zstd-chunked.md). It tells what files there are,
// where in the blob each part of each begins, and its digest. So such a layer
// is opened without reading it. The table is used only if the manifest names
// its digest; on any doubt the layer is indexed like any other.

// Annotations of a layer's descriptor that name the digest of its table.
const (
	annotationTOC      = "containerd.io/snapshot/stargz/toc.digest" // of the JSON
	annotationChecksum = "zstd-chunked.manifest-checksum"           // of the JSON as compressed
)

// checksumPrefixes are what annotationChecksum comes with: containers/storage's
// and stargz-snapshotter's.
var checksumPrefixes = []string{"io.github.containers.", "io.containers."}

// A tablePromise is what a manifest says of a table: its digests, or "".
type tablePromise struct{ plain, packed string }

// table gives what the manifest promises of the layer's table of contents.
func (spec Spec) table() tablePromise {
	t := tablePromise{plain: spec.Annotations[annotationTOC]}
	for _, prefix := range checksumPrefixes {
		if v := spec.Annotations[prefix+annotationChecksum]; v != t.packed {
			t.packed += v // where two differ, no table has both
		}
	}
	return t
}

func (t tablePromise) none() bool { return t == tablePromise{} }

// String names the table, in the keys of indexes and in toc.Info.
func (t tablePromise) String() string { return strings.TrimSpace(t.plain + " " + t.packed) }

// check says whether a table has the digests that were promised.
func (t tablePromise) check(plain, packed string) error {
	if t.plain != "" && t.plain != plain {
		return &DigestError{"digest of the table of contents", t.plain, plain}
	}
	if t.packed != "" && t.packed != packed {
		return &DigestError{"digest of the compressed table of contents", t.packed, packed}
	}
	return nil
}

// indexByTable makes the index out of the layer's own table, in an empty f. The
// error says why that cannot be.
func indexByTable(ctx context.Context, spec Spec, f *os.File) error {
	if spec.Digest == "" {
		return errors.New("the layer has no digest")
	}
	place, err := findTable(spec.Blob)
	if err != nil {
		return err
	}
	w, err := toc.NewWriter(f)
	if err != nil {
		return err
	}
	defer w.Close()
	stored := &hashReader{contextReader{ctx, io.NewSectionReader(spec.Blob, place.off, place.size)}, digest.SHA256.Digester()}
	text, err := place.open(stored)
	if err != nil {
		return err
	}
	plain := &hashReader{text, digest.SHA256.Digester()}
	table := tableReader{w: w, end: place.dataEnd, codec: place.codec}
	if err := table.read(plain); err != nil {
		return err
	}
	// What is left is part of the digest.
	if _, err := io.Copy(io.Discard, stored); err != nil {
		return err
	}
	if err := spec.table().check(plain.sum.Digest().String(), stored.sum.Digest().String()); err != nil {
		return err
	}
	w.FinishChunks(place.dataEnd)
	return w.Finish(toc.Info{
		Codec: place.codec, BlobSize: spec.Blob.Size(), LayerSize: table.size,
		Digest: spec.Digest, DiffID: spec.DiffID, Table: spec.table().String(),
		Notes: notes(table.describer.Summary()),
	})
}

// A contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// A hashReader hashes what is read through it.
type hashReader struct {
	r   io.Reader
	sum digest.Digester
}

func (h *hashReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Hash().Write(p[:n])
	return n, err
}
