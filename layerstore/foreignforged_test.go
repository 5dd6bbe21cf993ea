package layerstore

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// addStargzTable puts a table and a footer behind gzip members.
func addStargzTable(t testing.TB, out, text []byte) tabled {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "stargz.index.json", Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out = slices.Clip(out)
	at := len(out)
	out = append(out, gz(b.Bytes())...)
	out = append(out, footerOf("\x1a\x00SG\x16\x00"+fmt.Sprintf("%016xSTARGZ", at))...)
	return tabled{out, map[string]string{annotationTOC: sha(text)}}
}

// footerOf is an empty gzip member with that extra field.
func footerOf(extra string) string {
	return "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff" + extra + "\x01\x00\x00\xff\xff" + strings.Repeat("\x00", 8)
}

// tableOf takes a layer apart: what comes before its table, and that.
func tableOf(t testing.TB, l tabled) (data, text []byte) {
	t.Helper()
	p, err := findTable(source(l.blob))
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.open(bytes.NewReader(l.blob[p.off : p.off+p.size]))
	if err != nil {
		t.Fatal(err)
	}
	if text, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return l.blob[:p.dataEnd], text
}

// A forger changes a table; rows are those of "entries".
type forger func(table map[string]any, rows []any)

// forge gives the layer another table, which its manifest vouches for.
func forge(t testing.TB, l tabled, change forger) tabled {
	t.Helper()
	data, text := tableOf(t, l)
	var table map[string]any
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	change(table, table["entries"].([]any))
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	return attachTable(t, l, data, text)
}

func attachTable(t testing.TB, l tabled, data, text []byte) tabled {
	t.Helper()
	if blob.Sniff(l.blob) == blob.Gzip {
		return addStargzTable(t, data, text)
	}
	return addChunkedTable(t, data, text)
}

// rowOf gives the first row of that name, and its number.
func rowOf(rows []any, name string) (map[string]any, int) {
	for i, r := range rows {
		if r := r.(map[string]any); r["name"] == name {
			return r, i
		}
	}
	panic(name)
}

// set gives a forger that changes one value of a row; nil takes it away.
func set(name, key string, value any) forger {
	return func(_ map[string]any, rows []any) {
		r, _ := rowOf(rows, name)
		if value == nil {
			delete(r, key)
		} else {
			r[key] = value
		}
	}
}

// add gives a forger that adds to a number.
func add(name, key string, n float64) forger {
	return func(_ map[string]any, rows []any) {
		r, _ := rowOf(rows, name)
		old, _ := r[key].(float64)
		r[key] = old + n
	}
}

// A table that its manifest vouches for and that does not fit together, or not
// the blob, is not used, or found when the file is read.
func TestForgedTables(t *testing.T) {
	b := manyTar(t)
	stargz, containers := tableWriters[1].write(t, b), writeContainers(t, b)
	for _, tt := range []struct {
		about  string
		layers []tabled
		forge  forger
		// note is said when the table is not used; else errs are the files
		// that cannot be read.
		note string
		errs []string
	}{
		{about: "nothing changed", forge: func(map[string]any, []any) {}},
		{about: "other keys", forge: func(table map[string]any, rows []any) {
			table["later"] = []any{map[string]any{"a": 1}}
			rows[1].(map[string]any)["NumLink"] = 3
		}},
		{about: "another version", forge: func(table map[string]any, _ []any) { table["version"] = 2 }, note: "2 in place of 1"},
		{about: "no version", forge: func(table map[string]any, _ []any) { delete(table, "version") }, note: "no version"},
		{about: "no entries", forge: func(table map[string]any, _ []any) { table["entries"] = []any{} }, note: "no entries"},
		{about: "entries of another kind", forge: func(table map[string]any, _ []any) { table["entries"] = "none" }, note: "none in place of ["},
		{about: "path out of the root", forge: set("./etc/empty", "name", "../passwd"), note: "leads out of the root"},
		{about: "name that JSON has altered", forge: set("./etc/empty", "name", "etc/\ufffd"), note: errLossy.Error()},
		{about: "link that JSON has altered", forge: set("./etc/link", "linkName", "\ufffd"), note: errLossy.Error()},
		{about: "attribute that JSON has altered", forge: set("./etc/empty", "xattrs", map[string]any{"user.\ufffd": ""}), note: errLossy.Error()},
		{about: "NUL in a name", forge: set("./etc/empty", "name", "a\x00b"), note: "NUL"},
		{about: "attributes that are no base64", forge: set("./etc/empty", "xattrs", map[string]any{"user.a": "=="}), note: "base64"},
		{about: "unknown type", forge: set("./etc/empty", "type", "door"), note: `type "door"`},
		{about: "uid out of range", forge: set("./etc/empty", "uid", 1<<32), note: "out of range"},
		{about: "time that is none", forge: set("./etc/empty", "modtime", "yesterday"), note: "yesterday"},
		{about: "device out of range", forge: set("dev/null", "devMajor", 5000), note: "device number"},
		{about: "root that is no directory", forge: set("./", "type", "fifo"), note: "root"},
		{about: "whiteout of a directory from within", forge: set("./etc/empty", "name", "etc/.wh.."), note: "whiteout"},
		{about: "negative size", forge: set("./etc/passwd", "size", -1), note: "chunk of"},
		{about: "empty file with a negative size", forge: set("./etc/empty", "size", -1), note: "chunk of"},
		{about: "size beyond the chunks", forge: add("bin/big", "size", 1), note: "chunk"},
		{about: "chunk beyond the size", forge: add("bin/big", "chunkSize", 1), note: "want one at"},
		{about: "chunk in the wrong place", forge: set("bin/big", "chunkOffset", 5), note: "want one at 0"},
		{about: "no digest of a chunk", forge: set("bin/big", "chunkDigest", nil), note: "digest"},
		{about: "another kind of digest", forge: set("bin/big", "chunkDigest", "sha512:00"), note: "digest"},
		{about: "offset beyond the data", forge: set("many/59", "offset", 1<<40), note: "beyond"},
		{about: "offset at the table", forge: set("many/59", "offset", float64(len(stargz.blob))), note: "beyond"},
		{about: "negative offset", forge: set("bin/big", "offset", -1), note: "not behind"},
		{about: "no offset", forge: set("bin/big", "offset", nil), note: "not behind"},
		{about: "offset of the file before", forge: func(_ map[string]any, rows []any) {
			r, _ := rowOf(rows, "bin/text")
			big, _ := rowOf(rows, "bin/big")
			r["offset"] = big["offset"]
		}, note: "not behind"},
		{about: "chunk of no file", forge: set("./etc/empty", "type", "chunk"), note: "chunk of no file"},
		{about: "chunk of another file", forge: func(_ map[string]any, rows []any) {
			_, i := rowOf(rows, "bin/big")
			rows[i+1].(map[string]any)["name"] = "other"
		}, note: "chunk of no file"},
		{about: "unknown kind of chunk", forge: set("bin/big", "chunkType", "holes"), note: `type "holes"`},
		{about: "far inside of a member", forge: set("bin/cap", "innerOffset", 1<<30), note: "behind 1073741824"},
		{about: "before the start of a member", forge: set("bin/cap", "innerOffset", -1), note: "behind -1"},
		{about: "end of a file before its start", layers: []tabled{containers}, forge: set("bin/big", "endOffset", 1), note: "ends at 1"},
		{about: "end of a file beyond the data", layers: []tabled{containers}, forge: set("bin/big", "endOffset", 1<<40), note: "ends at"},

		{about: "an entry of five million bytes", layers: []tabled{containers}, forge: set("./etc/empty", "linkName", strings.Repeat("x", 5_000_000)), note: "an entry of more than"},
		{about: "long chunk", layers: []tabled{containers}, forge: func(_ map[string]any, rows []any) {
			r, _ := rowOf(rows, "last")
			r["type"], r["size"], r["offset"], r["digest"] = "reg", toc.MaxChunk+1, 160_000, sha(nil)
		}, note: fmt.Sprintf("chunk of %d bytes", toc.MaxChunk+1)},

		{about: "offset within a member", forge: add("many/59", "offset", 1), errs: []string{"many/59"}},
		// In eStargz headers begin where the file before ends.
		{about: "offset within a member, before a header", layers: []tabled{stargz}, forge: add("bin/cap", "offset", 3), errs: []string{"bin/cap", "some zeros"}},
		{about: "offset within a frame", layers: []tabled{containers}, forge: add("bin/cap", "offset", 3), errs: []string{"bin/cap"}},
		{about: "another digest", forge: set("bin/big", "chunkDigest", sha(nil)), errs: []string{"bin/big"}},
		{about: "behind the end of a member", forge: func(_ map[string]any, rows []any) {
			_, i := rowOf(rows, "bin/big")
			rows[i+1].(map[string]any)["innerOffset"] = 1 << 20
		}, errs: []string{"bin/big"}},
		{about: "another mode", forge: set("bin/cap", "mode", 0o4755), errs: []string{"bin/cap"}},
		{about: "another owner", forge: set("./etc/passwd", "uid", 1000), errs: []string{"etc/passwd"}},
		{about: "another time", forge: set("./etc/passwd", "modtime", "2020-09-13T12:26:41Z"), errs: []string{"etc/passwd"}},
		{about: "another name", forge: set("./etc/passwd", "name", "etc/shadow"), errs: []string{"etc/shadow"}},
		{about: "no attributes", forge: set("bin/cap", "xattrs", nil), errs: []string{"bin/cap"}},
		{about: "file of a link's header", forge: func(_ map[string]any, rows []any) {
			r, _ := rowOf(rows, "etc/same")
			r["type"], r["size"] = "dir", 0
		}},
		{about: "empty file that has no header", forge: set("./etc/empty", "name", "etc/other")},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			layers := tt.layers
			if layers == nil {
				layers = []tabled{stargz, containers}
			}
			for _, l := range layers {
				forged := forge(t, l, tt.forge)
				layer, ix := openLayer(t, forged.spec())
				notes := ix.Info().Notes
				if tt.note != "" {
					if ix.Info().Codec.Chunked() || len(notes) == 0 || !strings.Contains(notes[0], tt.note) {
						t.Errorf("codec %v, notes %q; want a pass and a note with %q", ix.Info().Codec, notes, tt.note)
					}
					continue
				}
				if !ix.Info().Codec.Chunked() {
					t.Errorf("codec %v, notes %q; want the table to be used", ix.Info().Codec, notes)
				}
				var failed []string
				for _, e := range show(t, layer, ix) {
					if e.Err != nil {
						failed = append(failed, e.Path)
					}
					if data := (*blob.DataError)(nil); e.Err != nil && !errors.As(e.Err, &data) {
						t.Errorf("%q: %v, want a *blob.DataError", e.Path, e.Err)
					}
				}
				if !slices.Equal(failed, tt.errs) {
					t.Errorf("files that failed: %q, want %q", failed, tt.errs)
				}
			}
		})
	}
}
