package layerstore

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A tabled is a layer with a table of contents of its own.
type tabled struct {
	blob        []byte
	annotations map[string]string
}

func (l tabled) spec() Spec {
	src := source(l.blob)
	return Spec{Blob: src, Digest: src.id, Annotations: l.annotations}
}

// A tableWriter makes a tabled layer of a tar.
type tableWriter struct {
	about string
	codec toc.Codec
	write func(t testing.TB, tar []byte) tabled
}

// stargz writes with the library of stargz-snapshotter.
func stargz(about string, chunk, minChunk int, lossless bool) tableWriter {
	return tableWriter{about, toc.EStargz, func(t testing.TB, b []byte) tabled {
		var out bytes.Buffer
		w := estargz.NewWriterLevel(&out, 6)
		return tabled{annotations: map[string]string{annotationTOC: writeStargz(t, w, b, chunk, minChunk, lossless)}, blob: out.Bytes()}
	}}
}

func chunked(about string, chunk, minChunk int, lossless bool) tableWriter {
	return tableWriter{about, toc.ZstdChunked, func(t testing.TB, b []byte) tabled {
		var out bytes.Buffer
		annotations := map[string]string{}
		w := estargz.NewWriterWithCompressor(&out, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedFastest, Metadata: annotations})
		annotations[annotationTOC] = writeStargz(t, w, b, chunk, minChunk, lossless)
		return tabled{annotations: annotations, blob: out.Bytes()}
	}}
}

func writeStargz(t testing.TB, w *estargz.Writer, b []byte, chunk, minChunk int, lossless bool) string {
	t.Helper()
	w.ChunkSize, w.MinChunkSize = chunk, minChunk
	appendTar := w.AppendTar
	if lossless {
		appendTar = w.AppendTarLossLess
	}
	if err := appendTar(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	d, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

var tableWriters = []tableWriter{
	stargz("estargz", 0, 0, false),
	stargz("estargz, lossless, chunks of 10,000 bytes", 10_000, 0, true),
	stargz("estargz, several chunks a member", 10_000, 50_000, false),
	chunked("zstd:chunked of stargz-snapshotter", 0, 0, false),
	chunked("the same, lossless, several chunks a frame", 30_000, 100_000, true),
}

// manyTar is a layer with an entry of each kind.
func manyTar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	rnd := rand.NewChaCha8([32]byte{2})
	at := time.Unix(1_600_000_000, 0)
	add := func(h *tar.Header, data []byte) {
		t.Helper()
		if h.ModTime.IsZero() {
			h.ModTime = at
		}
		h.Size = int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		rnd.Read(b)
		return b
	}
	add(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	add(&tar.Header{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o2750, Uid: 3, Gid: 70_000}, nil)
	add(&tar.Header{Name: "./etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, Uname: "root", Gname: "root"}, []byte("root:x:0:0\n"))
	add(&tar.Header{Name: "./etc/empty", Typeflag: tar.TypeReg, Mode: 0o600}, nil)
	add(&tar.Header{Name: "./etc/link", Typeflag: tar.TypeSymlink, Linkname: "../a/b", Mode: 0o777}, nil)
	add(&tar.Header{Name: "etc/same", Typeflag: tar.TypeLink, Linkname: "./etc/passwd"}, nil)
	add(&tar.Header{Name: "etc/.wh.gone", Typeflag: tar.TypeReg}, nil)
	add(&tar.Header{Name: "opt/.wh..wh..opq", Typeflag: tar.TypeReg}, nil)
	add(&tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, nil)
	add(&tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 300}, nil)
	add(&tar.Header{Name: "dev/pipe", Typeflag: tar.TypeFifo}, nil)
	add(&tar.Header{Name: "dev/white", Typeflag: tar.TypeChar}, nil)
	add(&tar.Header{Name: "bin/big", Typeflag: tar.TypeReg, Mode: 0o4755}, noise(300_000))
	add(&tar.Header{Name: "bin/text", Typeflag: tar.TypeReg, Mode: 0o755}, bytes.Repeat([]byte("all work and no play\n"), 20_000))
	add(&tar.Header{Name: "bin/cap", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"SCHILY.xattr.user.empty":          "", "SCHILY.xattr.user.overlay.opaque": "y",
	}}, noise(1000))
	add(&tar.Header{Name: "old", Typeflag: tar.TypeReg, ModTime: time.Unix(-5, 0), Format: tar.FormatPAX}, noise(512))
	add(&tar.Header{Name: "fraction", Typeflag: tar.TypeReg, ModTime: time.Unix(1_600_000_000, 700_000_000), Format: tar.FormatPAX}, noise(10))
	add(&tar.Header{Name: "umläut/" + string(bytes.Repeat([]byte("x"), 200)), Typeflag: tar.TypeReg}, noise(100))
	for i := range 200 {
		add(&tar.Header{Name: fmt.Sprintf("many/%03d", i), Typeflag: tar.TypeReg, Mode: 0o644}, noise(i*i/4))
	}
	add(&tar.Header{Name: "last", Typeflag: tar.TypeSymlink, Linkname: "many/000"}, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// openLayer gives a layer that has been indexed, and its index.
func openLayer(t testing.TB, spec Spec) (*Layer, *toc.Index) {
	t.Helper()
	store := Open(t.TempDir())
	if err := store.EnsureIndex(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	layer := store.Layer(spec, blob.NewCache(4<<20))
	t.Cleanup(func() { layer.Close() })
	ix, err := layer.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return layer, ix
}

// A shownEntry is an entry with a digest of its contents in place of where
// they lie.
type shownEntry struct {
	toc.Entry
	Contents string
	Err      error
}

// show reads all that a layer has.
func show(t testing.TB, layer *Layer, ix *toc.Index) []shownEntry {
	t.Helper()
	var all []shownEntry
	for _, seq := range []func(func(*toc.Entry, error) bool){ix.Markers(), ix.Entries()} {
		for e, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			s := shownEntry{Entry: *e}
			if e.Type == toc.Regular {
				var b []byte
				b, s.Err = contents(t, layer, e)
				s.Contents = sha(b)
			}
			s.Off, s.Sparse = 0, nil
			all = append(all, s)
		}
	}
	return all
}

// contents reads a file, holes included.
func contents(t testing.TB, layer *Layer, e *toc.Entry) ([]byte, error) {
	t.Helper()
	extents := e.Sparse
	if extents == nil {
		extents = []toc.Extent{{Off: 0, Len: e.Size}}
	}
	b := make([]byte, e.Size)
	off := e.Off
	for _, x := range extents {
		n, err := layer.ReadAt(t.Context(), b[x.Off:x.Off+x.Len], off)
		if int64(n) < x.Len {
			if err == nil || err == io.EOF {
				t.Errorf("%q: ReadAt = %d, %v; want %d", e.Path, n, err, x.Len)
			}
			return nil, err
		}
		off += x.Len
	}
	return b, nil
}

// wholeSeconds rounds as stargz-snapshotter's writer does.
func wholeSeconds(all []shownEntry) []shownEntry {
	for i := range all {
		all[i].Mtime = toc.Time{Sec: all[i].Mtime.Time().Round(time.Second).Unix()}
	}
	return all
}

// A layer read by its table is what a pass over the whole blob finds in it.
func TestTableAgreesWithPass(t *testing.T) {
	want := manyTar(t)
	for _, tw := range tableWriters {
		t.Run(tw.about, func(t *testing.T) {
			l := tw.write(t, want)
			layer, ix := openLayer(t, l.spec())
			if got := ix.Info().Codec; got != tw.codec {
				t.Fatalf("codec = %v, want %v; notes: %q", got, tw.codec, ix.Info().Notes)
			}
			whole, wholeIx := openLayer(t, Spec{Blob: source(l.blob)})
			got := wholeSeconds(show(t, layer, ix))
			if diff := cmp.Diff(wholeSeconds(show(t, whole, wholeIx)), got); diff != "" {
				t.Errorf("-pass +table\n%.3000s", diff)
			}
		})
	}
}
