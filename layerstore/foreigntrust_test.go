package layerstore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A table is used only if the manifest vouches for it.
func TestTableTrust(t *testing.T) {
	b := manyTar(t)
	const older, newer = "io.containers.zstd-chunked.manifest-checksum", "io.github.containers.zstd-chunked.manifest-checksum"
	stargz, snapshotter, containers := tableWriters[0].write(t, b), tableWriters[3].write(t, b), writeContainers(t, b)
	packed := containers.annotations[newer]
	legacy := bytes.Clone(stargz.blob[:len(stargz.blob)-stargzFooter])
	p, err := findTable(source(stargz.blob))
	if err != nil {
		t.Fatal(err)
	}
	legacy = append(legacy, footerOf("\x16\x00"+fmt.Sprintf("%016xSTARGZ", p.off))...)
	external := append(bytes.Clone(stargz.blob[:p.off]), footerOf("\x15\x00SG\x11\x00STARGZEXTERNALTOC")...)
	for _, tt := range []struct {
		about       string
		blob        []byte
		annotations map[string]string
		want        toc.Codec
		note        string
	}{
		{"estargz", stargz.blob, stargz.annotations, toc.EStargz, ""},
		{"estargz without annotations", stargz.blob, nil, toc.Gzip, ""},
		{"estargz with others", stargz.blob, map[string]string{"a": "b"}, toc.Gzip, ""},
		{"estargz with another digest", stargz.blob, map[string]string{annotationTOC: sha(nil)}, toc.Gzip, "digest of the table"},
		{"stargz with its footer", legacy, stargz.annotations, toc.EStargz, ""},
		{"table in another image", external, stargz.annotations, toc.Gzip, errExternal.Error()},
		{"gzip", gz(b), stargz.annotations, toc.Gzip, errNoFooter.Error()},
		{"tar", b, stargz.annotations, toc.Plain, "blob of tar"},
		{"zstd", zst(t, b, 100_000), stargz.annotations, toc.Zstd, errNoFooter.Error()},
		{"both digests", snapshotter.blob, snapshotter.annotations, toc.ZstdChunked, ""},
		{"digest of the text", snapshotter.blob, map[string]string{annotationTOC: snapshotter.annotations[annotationTOC]}, toc.ZstdChunked, ""},
		{"digest of the compressed text", snapshotter.blob, map[string]string{older: snapshotter.annotations[older]}, toc.ZstdChunked, ""},
		{"one of two digests wrong", snapshotter.blob, map[string]string{annotationTOC: snapshotter.annotations[annotationTOC], older: sha(nil)}, toc.Zstd, "digest of the compressed"},
		{"the other one wrong", snapshotter.blob, map[string]string{annotationTOC: sha(nil), older: snapshotter.annotations[older]}, toc.Zstd, "digest of the table"},
		{"newer prefix", containers.blob, containers.annotations, toc.ZstdChunked, ""},
		{"older prefix", containers.blob, map[string]string{older: packed}, toc.ZstdChunked, ""},
		{"both prefixes", containers.blob, map[string]string{older: packed, newer: packed}, toc.ZstdChunked, ""},
		{"two that differ", containers.blob, map[string]string{older: sha(nil), newer: packed}, toc.Zstd, "digest of the compressed"},
		{"position alone", containers.blob, map[string]string{"io.containers.zstd-chunked.manifest-position": "1:2:3:1"}, toc.Zstd, ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			layer, ix := openLayer(t, tabled{tt.blob, tt.annotations}.spec())
			info := ix.Info()
			if info.Codec != tt.want || len(info.Notes) > 0 != (tt.note != "") || tt.note != "" && !strings.Contains(info.Notes[0], tt.note) {
				t.Errorf("codec %v, notes %q; want %v, %q", info.Codec, info.Notes, tt.want, tt.note)
			}
			if info.Codec.Chunked() && info.Table == "" || !info.Codec.Chunked() && info.Table != "" {
				t.Errorf("Table = %q of codec %v", info.Table, info.Codec)
			}
			for _, e := range show(t, layer, ix) {
				if e.Err != nil {
					t.Errorf("%q: %v", e.Path, e.Err)
				}
			}
		})
	}
}

// What one image's manifest vouches for is nothing to another image that has
// the same blob.
func TestTableIsOfItsManifest(t *testing.T) {
	l := tableWriters[0].write(t, manyTar(t))
	// The blob's bytes are not those of its digest, as nobody checks that; the
	// table in it, and with it the annotation, are forged to match.
	forged := forge(t, l, set("./etc/empty", "name", "etc/forged"))
	bad := Spec{Blob: &memory{forged.blob, sha(l.blob)}, Digest: sha(l.blob), Annotations: forged.annotations}
	store := Open(t.TempDir())
	if err := store.EnsureIndex(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []Spec{l.spec(), {Blob: source(l.blob), Digest: sha(l.blob)}} {
		if store.HasIndex(spec) {
			t.Errorf("Key %q: the index of the forged table is taken for it", spec.Key())
		}
		if err := store.EnsureIndex(t.Context(), spec); err != nil {
			t.Error(err)
		}
		ix, err := store.OpenIndex(spec)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range ix.Entries() {
			if err != nil || e.Path == "etc/forged" {
				t.Errorf("entry %q, %v", e.Path, err)
			}
		}
		ix.Close()
	}
}

// Offsets of a tree that was made of another kind of index give errors.
func TestSpacesDoNotMix(t *testing.T) {
	l := tableWriters[0].write(t, manyTar(t))
	layer, ix := openLayer(t, l.spec())
	whole, wholeIx := openLayer(t, Spec{Blob: source(l.blob)})
	read := func(l *Layer, ix *toc.Index) {
		for e, err := range ix.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			if n, err := l.ReadAt(t.Context(), make([]byte, 1), e.Off); e.Size > 0 && (n > 0 || err == nil) {
				t.Errorf("%q: ReadAt(%d) = %d, %v; want an error", e.Path, e.Off, n, err)
			}
		}
	}
	read(layer, wholeIx)
	read(whole, ix)
}

// Whatever byte of a small blob is changed, or wherever it is cut: what is
// read is right, or an error.
func TestTabledDamage(t *testing.T) {
	b := smallTar(t)
	for n, tw := range tableWriters {
		t.Run(tw.about, func(t *testing.T) {
			good := tw.write(t, b)
			place, err := findTable(source(good.blob))
			if err != nil {
				t.Fatal(err)
			}
			ix, err := tableIndex(t, good.spec())
			if err != nil {
				t.Fatal(err)
			}
			entries := listed(t, ix)
			want := readFrom(t, source(good.blob), ix, entries)
			failed := 0
			try := func(what string, damaged []byte, ix *toc.Index, entries []toc.Entry) {
				got := readFrom(t, source(damaged), ix, entries)
				for i, e := range got {
					if data := (*blob.DataError)(nil); errors.As(e.Err, &data) {
						failed++
						got[i].Err, got[i].Contents = nil, want[min(i, len(want)-1)].Contents
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: -want +got\n%.1000s", what, diff)
				}
			}
			// Each writer's layer is hit in other places: the formats are alike.
			step := int64(len(tableWriters))
			for i := int64(n); i < place.dataEnd; i += step {
				damaged := bytes.Clone(good.blob)
				damaged[i] ^= 1 << (i / step % 8)
				try(fmt.Sprintf("byte %d of %d flipped", i, len(damaged)), damaged, ix, entries)
				if i%8 == 0 {
					try(fmt.Sprintf("cut to %d", i), good.blob[:i], ix, entries)
				}
			}
			if failed < int(place.dataEnd/step/2) {
				t.Errorf("files failed %d times in %d damaged bytes", failed, place.dataEnd/step)
			}
			// Some bytes behind the table may change unseen.
			for i := place.off; i < int64(len(good.blob)); i += 29 {
				damaged := bytes.Clone(good.blob)
				damaged[i] ^= 1 << (i % 8)
				spec := good.spec()
				spec.Blob = source(damaged)
				if ix, err := tableIndex(t, spec); err == nil {
					try(fmt.Sprintf("byte %d of %d flipped", i, len(damaged)), damaged, ix, listed(t, ix))
				}
				spec.Blob = source(good.blob[:i])
				if _, err := tableIndex(t, spec); err == nil {
					t.Errorf("cut to %d: the table is used", i)
				}
			}
		})
	}
}

// headerOf gives where the header of a member begins, with what belongs to it.
func headerOf(t testing.TB, b []byte, name string) int {
	t.Helper()
	r := bytes.NewReader(b)
	for archive, at := tar.NewReader(r), 0; ; {
		h, err := archive.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Name == name {
			return at
		}
		at = len(b) - r.Len() + int(h.Size+511)/512*512
	}
}

// tableIndex is the index out of a layer's own table, made without a store.
func tableIndex(t testing.TB, spec Spec) (*toc.Index, error) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "index")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := indexByTable(t.Context(), spec, f); err != nil {
		return nil, err
	}
	ix, err := toc.OpenIndex(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix, nil
}

// readFrom reads entries out of a blob by an index.
func readFrom(t testing.TB, src blob.Source, ix *toc.Index, entries []toc.Entry) []shownEntry {
	t.Helper()
	layer := &Layer{Reader: blob.NewReader(src, blob.NewCache(1<<20), func(context.Context) (*toc.Index, error) { return ix, nil })}
	defer layer.Close()
	return readAll(t, layer, entries)
}
