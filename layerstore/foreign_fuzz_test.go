package layerstore

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// What a table says, as far as it is taken, is a sound index, and the same as
// what encoding/json reads there.
func FuzzTable(f *testing.F) {
	for _, l := range []tabled{tableWriters[2].write(f, smallTar(f)), writeContainers(f, smallTar(f))} {
		_, text := tableOf(f, l)
		f.Add(text, int64(len(l.blob)), true)
		f.Add(text, int64(len(l.blob)), false)
	}
	f.Add([]byte(`{"version":1,"entries":[{"name":"a","type":"dir","xattrs":{"user.a":"AA=="}},{"name":"b","type":"reg","size":1,"offset":5,"digest":"sha256:`+sha(nil)[7:]+`"}]}`), int64(1000), false)
	path := filepath.Join(f.TempDir(), "index")
	f.Fuzz(func(t *testing.T, text []byte, end int64, gzip bool) {
		end &= 1<<40 - 1
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		w, err := toc.NewWriter(file)
		if err != nil {
			t.Fatal(err)
		}
		codec := toc.ZstdChunked
		if gzip {
			codec = toc.EStargz
		}
		table := tableReader{w: w, codec: codec, end: end}
		if err := table.read(bytes.NewReader(text)); err != nil {
			return
		}
		w.FinishChunks(end)
		if err := w.Finish(toc.Info{Codec: codec, BlobSize: end, LayerSize: table.size}); err != nil {
			t.Fatal(err)
		}
		ix, err := toc.OpenIndex(path)
		if err != nil {
			t.Fatal(err)
		}
		defer ix.Close()
		for _, e := range listed(t, ix) {
			if e.Type == toc.Regular && e.DataLen() > 0 {
				// Neither may panic.
				ix.Chunks(ix.Span(ix.SpanAt(e.Off)))
				ix.Chunks(ix.Span(ix.SpanAt(e.Off + e.DataLen() - 1)))
			}
		}
		for i := range ix.Headers() {
			ix.Header(i)
		}
		if !json.Valid(text) {
			t.Errorf("%q is no JSON", text)
		}
	})
}

// A footer leads to a part of the blob, or is none.
func FuzzFooter(f *testing.F) {
	for _, tw := range tableWriters {
		l := tw.write(f, smallTar(f))
		f.Add(l.blob[max(0, len(l.blob)-100):], blob.Sniff(l.blob) == blob.Gzip, int64(len(l.blob)))
	}
	f.Add([]byte(footerOf("\x16\x000000000000000000STARGZ")), true, int64(100))
	f.Add([]byte(footerOf("\x15\x00SG\x11\x00STARGZEXTERNALTOC")), true, int64(46))
	f.Fuzz(func(t *testing.T, tail []byte, gzip bool, size int64) {
		if size < int64(len(tail)) {
			return
		}
		parse := parseChunkedFooter
		if gzip {
			parse = parseStargzFooter
		}
		p, err := parse(tail, size)
		if err != nil {
			return
		}
		if p.off < 0 || p.size < 0 || p.off > size || p.size > size-p.off || p.dataEnd < 0 || p.dataEnd > p.off || p.plain < 0 || !p.codec.Chunked() {
			t.Errorf("%+v of %d bytes", p, size)
		}
	})
}

// Whatever a forged table says: a file that can be read at all is what its tar
// header says.
func FuzzForged(f *testing.F) {
	b := smallTar(f)
	layers := []tabled{tableWriters[2].write(f, b), writeContainers(f, b)}
	_, ix := openLayer(f, Spec{Blob: source(b)})
	headers := map[string]toc.Entry{}
	for _, e := range listed(f, ix) {
		headers[e.Path] = e
	}
	for _, l := range layers {
		_, text := tableOf(f, l)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, l := range layers {
			data, _ := tableOf(t, l)
			forged := attachTable(t, l, data, text)
			ix, err := tableIndex(t, forged.spec())
			if err != nil {
				continue
			}
			entries := listed(t, ix)
			for i, e := range readFrom(t, source(forged.blob), ix, entries) {
				if entries[i].DataLen() == 0 || e.Err != nil {
					continue
				}
				want, got := headers[e.Path], e.Entry
				want.Off, want.Mtime, got.Mtime = 0, toc.Time{}, toc.Time{}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("-header +table\n%s", diff)
				}
			}
		}
	})
}

// smallTar is a layer with a few entries of manyTar's.
func smallTar(t testing.TB) []byte {
	t.Helper()
	all := manyTar(t)
	var b []byte // a directory, a file, a link, a file with attributes
	for _, part := range [][2]string{{"./etc/", "./etc/empty"}, {"./etc/link", "etc/same"}, {"bin/cap", "some zeros"}} {
		b = append(b, all[headerOf(t, all, part[0]):headerOf(t, all, part[1])]...)
	}
	return append(b, make([]byte, 1024)...)
}
