package layerstore

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	{"zstd:chunked of containers/storage", toc.ZstdChunked, writeContainers},
}

// A row is a row of a table as containers/storage writes it.
type row struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	Linkname    string            `json:"linkName,omitempty"`
	Mode        int64             `json:"mode,omitempty"`
	Size        int64             `json:"size,omitempty"`
	UID         int               `json:"uid,omitempty"`
	GID         int               `json:"gid,omitempty"`
	ModTime     *time.Time        `json:"modtime,omitempty"`
	AccessTime  *time.Time        `json:"accesstime,omitempty"`
	Devmajor    int64             `json:"devMajor,omitempty"`
	Devminor    int64             `json:"devMinor,omitempty"`
	Xattrs      map[string]string `json:"xattrs,omitempty"`
	Digest      string            `json:"digest,omitempty"`
	Offset      int64             `json:"offset,omitempty"`
	EndOffset   int64             `json:"endOffset,omitempty"`
	ChunkSize   int64             `json:"chunkSize,omitempty"`
	ChunkOffset int64             `json:"chunkOffset,omitempty"`
	ChunkDigest string            `json:"chunkDigest,omitempty"`
	ChunkType   string            `json:"chunkType,omitempty"`
}

var rowTypes = map[byte]string{
	tar.TypeReg: "reg", tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink", tar.TypeDir: "dir",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo",
}

// writeContainers writes zstd:chunked as containers/storage does, with the
// footer of 64 bytes: headers and chunks each in a frame of its own; chunk
// fields only where a file has several; zeros marked.
func writeContainers(t testing.TB, b []byte) tabled {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	frame := func(b []byte) (off int64) {
		off = int64(len(out))
		if len(b) > 0 {
			out = enc.EncodeAll(b, out)
		}
		return off
	}
	var rows []row
	src := bytes.NewReader(b)
	archive := tar.NewReader(src)
	done := 0
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r := row{
			Type: rowTypes[h.Typeflag], Name: h.Name, Linkname: h.Linkname, Mode: h.Mode, Size: h.Size, UID: h.Uid, GID: h.Gid,
			ModTime: &h.ModTime, AccessTime: new(time.Time), Devmajor: h.Devmajor, Devminor: h.Devminor,
		}
		for k, v := range h.PAXRecords {
			if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				if r.Xattrs == nil {
					r.Xattrs = map[string]string{}
				}
				r.Xattrs[name] = base64.StdEncoding.EncodeToString([]byte(v))
			}
		}
		if h.Size == 0 {
			rows = append(rows, r)
			continue
		}
		at := len(b) - src.Len()
		frame(b[done:at])
		data := b[at : at+int(h.Size)]
		done = at + len(data)
		r.Digest = sha(data)
		first := len(rows)
		for off, n := 0, 0; off < len(data); off += n {
			n = chunkAt(data[off:])
			c := row{Type: "chunk", Name: h.Name}
			if off == 0 {
				c = r
			}
			c.Offset = frame(data[off : off+n])
			if n < len(data) {
				c.ChunkOffset, c.ChunkSize, c.ChunkDigest = int64(off), int64(n), sha(data[off:off+n])
				if allZero(data[off : off+n]) {
					c.ChunkType = "zeros"
				}
			}
			rows = append(rows, c)
		}
		rows[first].EndOffset = int64(len(out))
	}
	frame(b[done:])
	return finishContainers(t, out, rows)
}

// chunkAt cuts the next chunk off: a run of zeros, however long, or at most
// 40,000 bytes.
func chunkAt(b []byte) int {
	zeros := len(b) - len(bytes.TrimLeft(b, "\x00"))
	if zeros >= 4096 {
		return zeros
	}
	n := min(len(b), 40_000)
	if i := bytes.Index(b[:n], make([]byte, 4096)); i > 0 {
		return i
	}
	return n
}

// finishContainers puts a table and a footer behind the frames.
func finishContainers(t testing.TB, out []byte, rows []row) tabled {
	t.Helper()
	text, err := json.Marshal(map[string]any{"version": 1, "entries": rows, "tarSplitDigest": sha(nil)})
	if err != nil {
		t.Fatal(err)
	}
	return addChunkedTable(t, out, text)
}

func addChunkedTable(t testing.TB, out, text []byte) tabled {
	t.Helper()
	out = slices.Clip(out)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	table := enc.EncodeAll(text, nil)
	le := binary.LittleEndian
	skip := func(b []byte) (off int) {
		out = le.AppendUint32(le.AppendUint32(out, skippable), uint32(len(b)))
		off = len(out)
		out = append(out, b...)
		return off
	}
	split := []byte("a tar-split would be here")
	at := skip(table)
	splitAt := skip(split)
	var footer []byte
	for _, n := range []int{at, len(table), len(text), 1, splitAt, len(split), 1000} {
		footer = le.AppendUint64(footer, uint64(n))
	}
	skip(append(footer, "GNUlInUx"...))
	const prefix = "io.github.containers.zstd-chunked."
	return tabled{out, map[string]string{
		prefix + "manifest-checksum": sha(table),
		prefix + "manifest-position": fmt.Sprintf("%d:%d:%d:1", at, len(table), len(text)),
		prefix + "tarsplit-position": fmt.Sprintf("%d:%d:1000", splitAt, len(split)),
	}}
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
	add(&tar.Header{Name: "bin/big", Typeflag: tar.TypeReg, Mode: 0o4755}, noise(120_000))
	add(&tar.Header{Name: "bin/text", Typeflag: tar.TypeReg, Mode: 0o755}, bytes.Repeat([]byte("all work and no play\n"), 5_000))
	add(&tar.Header{Name: "bin/cap", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"SCHILY.xattr.user.empty":          "", "SCHILY.xattr.user.overlay.opaque": "y",
	}}, noise(1000))
	add(&tar.Header{Name: "some zeros", Typeflag: tar.TypeReg}, slices.Concat(noise(1000), make([]byte, 100_000), noise(500)))
	add(&tar.Header{Name: "old", Typeflag: tar.TypeReg, ModTime: time.Unix(-5, 0), Format: tar.FormatPAX}, noise(512))
	add(&tar.Header{Name: "fraction", Typeflag: tar.TypeReg, ModTime: time.Unix(1_600_000_000, 700_000_000), Format: tar.FormatPAX}, noise(10))
	add(&tar.Header{Name: "umläut/" + string(bytes.Repeat([]byte("x"), 200)), Typeflag: tar.TypeReg}, noise(100))
	for i := range 60 {
		add(&tar.Header{Name: fmt.Sprintf("many/%02d", i), Typeflag: tar.TypeReg, Mode: 0o644}, noise(2*i*i))
	}
	add(&tar.Header{Name: "last", Typeflag: tar.TypeSymlink, Linkname: "many/00"}, nil)
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
	return readAll(t, layer, listed(t, ix))
}

// listed gives the entries of an index, the markers first.
func listed(t testing.TB, ix *toc.Index) []toc.Entry {
	t.Helper()
	var all []toc.Entry
	for _, seq := range []func(func(*toc.Entry, error) bool){ix.Markers(), ix.Entries()} {
		for e, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, *e)
		}
	}
	return all
}

func readAll(t testing.TB, layer *Layer, entries []toc.Entry) []shownEntry {
	t.Helper()
	all := make([]shownEntry, len(entries))
	for i, e := range entries {
		s := shownEntry{Entry: e}
		if e.Type == toc.Regular {
			var b []byte
			b, s.Err = contents(t, layer, &e)
			s.Contents = sha(b)
		}
		s.Off, s.Sparse = 0, nil
		all[i] = s
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

// Chunks of zeros that are too long to be read are holes.
func TestLongZerosAreHoles(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	const long = toc.MaxChunk + 1000
	zeros, text := make([]byte, long), []byte("a bit of text\n")
	for name, data := range map[string][]byte{
		"begins": slices.Concat(zeros, text), "ends": slices.Concat(text, zeros),
		"between": slices.Concat(text, zeros, text, zeros, text), "none": text,
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	w.Close()
	l := writeContainers(t, b.Bytes())
	layer, ix := openLayer(t, l.spec())
	if ix.Info().Codec != toc.ZstdChunked {
		t.Fatalf("codec %v, notes %q", ix.Info().Codec, ix.Info().Notes)
	}
	n := int64(len(text))
	want := map[string][]toc.Extent{
		"begins": {{Off: long, Len: n}}, "ends": {{Off: 0, Len: n}},
		"between": {{Off: 0, Len: n}, {Off: n + long, Len: n}, {Off: 2 * (n + long), Len: n}}, "none": nil,
	}
	for _, e := range listed(t, ix) {
		if diff := cmp.Diff(want[e.Path], e.Sparse); diff != "" {
			t.Errorf("%q: -want +got extents\n%s", e.Path, diff)
		}
	}
	whole, wholeIx := openLayer(t, Spec{Blob: source(l.blob)})
	if diff := cmp.Diff(show(t, whole, wholeIx), show(t, layer, ix)); diff != "" {
		t.Errorf("-pass +table\n%s", diff)
	}
}

// A file's header is compared whichever of its bytes is read first, and the
// one before or behind its span.
func TestHeaderComparedFirst(t *testing.T) {
	b := manyTar(t)
	for _, l := range []tabled{tableWriters[1].write(t, b), tableWriters[2].write(t, b), tableWriters[4].write(t, b), writeContainers(t, b)} {
		for _, name := range []string{"bin/big", "many/50"} {
			forged := forge(t, l, set(name, "gid", 7))
			for _, at := range []int64{0, 4000, -1} {
				layer, ix := openLayer(t, forged.spec())
				for _, e := range listed(t, ix) {
					if e.Path != name {
						continue
					}
					off := e.Off + at
					if at < 0 {
						off += e.Size
					}
					n, err := layer.ReadAt(t.Context(), make([]byte, 1), off)
					if data := (*blob.DataError)(nil); n != 0 || !errors.As(err, &data) || !strings.Contains(err.Error(), name) {
						t.Errorf("%s, byte %d: ReadAt = %d, %v; want a *blob.DataError that names it", name, off-e.Off, n, err)
					}
				}
			}
		}
	}
}

// What skopeo on this machine writes is read by its table.
func TestSkopeoChunked(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		if os.Getenv("MICA_TEST_STRICT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	layer := manyTar(t)
	dir := t.TempDir()
	put := func(b []byte) map[string]any {
		d := sha(b)
		if err := os.WriteFile(filepath.Join(dir, strings.TrimPrefix(d, "sha256:")), b, 0o644); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"digest": d, "size": len(b)}
	}
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	config := put(text(map[string]any{
		"architecture": "amd64", "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{sha(layer)}},
	}))
	config["mediaType"] = "application/vnd.oci.image.config.v1+json"
	desc := put(layer)
	desc["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
	for name, b := range map[string][]byte{"version": []byte("Directory Transport Version: 1.1\n"), "manifest.json": text(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{desc},
	})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	to := t.TempDir()
	cmd := exec.Command(skopeo, "--insecure-policy", "copy", "--dest-compress", "--dest-compress-format=zstd:chunked", "dir:"+dir, "oci:"+to+":a")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	blobs := filepath.Join(to, "blobs", "sha256")
	names, err := os.ReadDir(blobs)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(blobs, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var manifest struct {
			Layers []struct {
				Digest      string
				Annotations map[string]string
			}
		}
		if json.Unmarshal(b, &manifest) != nil || len(manifest.Layers) == 0 {
			continue
		}
		l := manifest.Layers[0]
		if b, err = os.ReadFile(filepath.Join(blobs, strings.TrimPrefix(l.Digest, "sha256:"))); err != nil {
			t.Fatal(err)
		}
		spec := tabled{b, l.Annotations}.spec()
		chunked, ix := openLayer(t, spec)
		if ix.Info().Codec != toc.ZstdChunked {
			t.Fatalf("codec %v, notes %q, annotations %v", ix.Info().Codec, ix.Info().Notes, l.Annotations)
		}
		plain, plainIx := openLayer(t, Spec{Blob: source(layer)})
		want := show(t, plain, plainIx)
		for i := range want {
			// Older ones lose attributes without a value.
			want[i].Xattrs = slices.DeleteFunc(want[i].Xattrs, func(x toc.Xattr) bool { return len(x.Value) == 0 })
		}
		if diff := cmp.Diff(want, show(t, chunked, ix)); diff != "" {
			t.Errorf("-tar +table\n%.3000s", diff)
		}
		return
	}
	t.Fatal("no manifest")
}

// The seek table of seekable zstd (zstd_seekable_compression_format.md in
// zstd's contrib) names no files and no digest: the layer is indexed like any
// other, and can be read anywhere.
func TestSeekableZstd(t *testing.T) {
	want := manyTar(t)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	var out, table []byte
	frames := 0
	for b := want; len(b) > 0; frames++ {
		n, at := min(len(b), 70_000), len(out)
		out = enc.EncodeAll(b[:n], out)
		table = le.AppendUint32(le.AppendUint32(table, uint32(len(out)-at)), uint32(n))
		b = b[n:]
	}
	table = append(le.AppendUint32(table, uint32(frames)), 0, 0xb1, 0xea, 0x92, 0x8f)
	out = le.AppendUint32(le.AppendUint32(out, 0x184d2a5e), uint32(len(table)))
	out = append(out, table...)
	layer, ix := openLayer(t, tabled{out, map[string]string{annotationTOC: sha(table)}}.spec())
	if info := ix.Info(); info.Codec != toc.Zstd || info.DiffID != sha(want) || len(info.Notes) != 1 || !strings.Contains(info.Notes[0], errNoFooter.Error()) {
		t.Errorf("Info = %+v", info)
	}
	plain, plainIx := openLayer(t, Spec{Blob: source(want)})
	if diff := cmp.Diff(show(t, plain, plainIx), show(t, layer, ix)); diff != "" {
		t.Errorf("-tar +seekable\n%.3000s", diff)
	}
}
