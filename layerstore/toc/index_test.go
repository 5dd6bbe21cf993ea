package toc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mica/layerstore/inflate"
)

// someEntries are of all types, with all that an entry can hold.
func someEntries() []Entry {
	return []Entry{
		{Path: "", Type: Dir, Mode: 0o755},
		{Path: "bin", Type: Symlink, Mode: 0o777, Link: "usr/bin"},
		{Path: "usr/bin/a", Type: Regular, Mode: 0o4755, UID: 1<<32 - 2, GID: 7, Size: 1000, Off: 512, Mtime: Time{Sec: -1, Nsec: 999999999}},
		{Path: "usr/bin/b", Type: Hardlink, Link: "usr/bin/a"},
		{Path: "usr/bin/\xff\n", Type: Regular, Size: 1 << 20, Off: 2048, Sparse: []Extent{{0, 10}, {4096, 100}}},
		{Path: "usr/hole", Type: Regular, Size: 1 << 20, Off: 2560, Sparse: []Extent{}},
		{Path: "dev/x", Type: Block, Major: 8, Minor: 1 << 19},
		{Path: "dev/y", Type: Char, Major: 1, Minor: 3},
		{Path: "run/f", Type: Fifo, Mode: 0o600, Xattrs: []Xattr{{"user.a", []byte{}}, {"user.b", []byte("\x00\n=")}}},
	}
}

func someMarkers() []Entry {
	return []Entry{{Path: "etc/gone", Type: Whiteout}, {Path: "etc/conf", Type: Opaque}}
}

const someLayerSize = 3 << 20

// writeIndex makes an index of what is given, with three spans.
func writeIndex(t testing.TB, info Info, entries []Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := w.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range somePoints() {
		if err := w.AddPoint(p); err != nil {
			t.Fatal(err)
		}
	}
	for i := range blocks(1<<20) + blocks(1<<20-5) + blocks(1<<20+5) {
		w.AddSum(uint32(i))
	}
	if err := w.Finish(info); err != nil {
		t.Fatal(err)
	}
	return path
}

func somePoints() []inflate.Point {
	return []inflate.Point{
		{In: 0, Out: 0, Kind: inflate.AtMember},
		{In: 1000, Bit: 3, Out: 1 << 20, Kind: inflate.AtBlock, Window: bytes.Repeat([]byte{1, 0, 0, 7}, 1000)},
		{In: 2000, Bit: 7, Out: 2<<20 - 5, Kind: inflate.InBlock, Head: 1500, HeadBit: 1},
	}
}

func someInfo() Info {
	return Info{Codec: Gzip, BlobSize: 5000, LayerSize: someLayerSize, Digest: "sha256:d", DiffID: "sha256:f", Notes: []string{"a note"}}
}

func collect(t testing.TB, seq iter.Seq2[*Entry, error]) []Entry {
	t.Helper()
	var all []Entry
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *e)
	}
	return all
}

func TestIndex(t *testing.T) {
	ix, err := OpenIndex(writeIndex(t, someInfo(), append(someMarkers(), someEntries()...)))
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	want := someInfo()
	want.Entries, want.Markers = int64(len(someEntries())), int64(len(someMarkers()))
	if diff := cmp.Diff(want, ix.Info()); diff != "" {
		t.Errorf("Info: (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(someEntries(), collect(t, ix.Entries())); diff != "" {
		t.Errorf("Entries: (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(someMarkers(), collect(t, ix.Markers())); diff != "" {
		t.Errorf("Markers: (-want +got)\n%s", diff)
	}
	if ix.Spans() != 3 {
		t.Fatalf("Spans = %d, want 3", ix.Spans())
	}
	sums := 0
	for i, want := range somePoints() {
		sp := ix.Span(i)
		got, err := ix.Point(sp)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Point %d: %v (-want +got)\n%s", i, err, diff)
		}
		if n := ix.SpanAt(sp.Out); n != i {
			t.Errorf("SpanAt(%d) = %d, want %d", sp.Out, n, i)
		}
		if n := ix.SpanAt(sp.OutEnd - 1); n != i {
			t.Errorf("SpanAt(%d) = %d, want %d", sp.OutEnd-1, n, i)
		}
		for b := range int(blocks(sp.Len())) {
			if got := ix.Sum(sp, b); got != uint32(sums) {
				t.Errorf("Sum of span %d, block %d = %d, want %d", i, b, got, sums)
			}
			sums++
		}
	}
	if got := ix.Span(0).InEnd; got != 1001 {
		t.Errorf("span 0 ends at %d of the blob, want 1001: the byte that it shares with span 1", got)
	}
	if got := ix.Span(2).InEnd; got != 5000 {
		t.Errorf("the last span ends at %d of the blob, want 5000", got)
	}
}

// Every byte of an index file is checked: flipped or cut, it does not open.
func TestIndexDamaged(t *testing.T) {
	path := writeIndex(t, someInfo(), someEntries())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	open := func(b []byte) error {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		ix, err := OpenIndex(path)
		if err == nil {
			ix.Close()
		}
		return err
	}
	if err := open(good); err != nil {
		t.Fatal(err)
	}
	bad := (*IndexError)(nil)
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		if err := open(b); !errors.As(err, &bad) {
			t.Errorf("byte %d flipped: %v, want an *IndexError", i, err)
		}
		if err := open(good[:i]); !errors.As(err, &bad) {
			t.Errorf("cut to %d bytes: %v, want an *IndexError", i, err)
		}
	}
	if err := open(append(good, 0)); !errors.As(err, &bad) {
		t.Errorf("a byte too long: %v, want an *IndexError", err)
	}
}

// fixSums makes the checksums of an index right again, so that what lies
// behind them is tested.
func fixSums(b []byte) {
	if len(b) < headerLen {
		return
	}
	le := binary.LittleEndian
	for i := range numSections {
		s := b[16+i*sectionLen:]
		off, n := le.Uint64(s), le.Uint64(s[8:])
		if off <= uint64(len(b)) && n <= uint64(len(b))-off {
			le.PutUint32(s[16:], Checksum(b[off:off+n]))
		}
	}
	le.PutUint32(b[headerLen-4:], Checksum(b[:headerLen-4]))
}

// A forged index gives an error or nonsense in range, never a panic.
func FuzzIndex(f *testing.F) {
	for _, info := range []Info{someInfo(), {Codec: Zstd, BlobSize: 5000, LayerSize: someLayerSize}, {Codec: Plain}} {
		b, err := os.ReadFile(writeIndex(f, info, append(someMarkers(), someEntries()...)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	chunked, err := os.ReadFile(chunkIndex(f, chunkInfo(), []Chunk{{In: 10, Len: 100}, {In: 20, Skip: 5, Len: 1 << 20, File: NoFile}}, []Header{{In: 3, End: 10}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(chunked)
	path := filepath.Join(f.TempDir(), "index")
	f.Fuzz(func(t *testing.T, b []byte) {
		fixSums(b)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		ix, err := OpenIndex(path)
		if err != nil {
			if bad := (*IndexError)(nil); !errors.As(err, &bad) {
				t.Fatalf("OpenIndex: %v (%T), want an *IndexError", err, err)
			}
			return
		}
		defer ix.Close()
		info := ix.Info()
		for e, err := range ix.Entries() {
			if err == nil && e.Type == Regular && (e.Off < info.Start() || e.DataLen() > info.End()-e.Off) {
				t.Fatalf("entry %q: data [%d, +%d) outside of [%d, %d)", e.Path, e.Off, e.DataLen(), info.Start(), info.End())
			}
		}
		for range ix.Markers() {
		}
		for i := range min(ix.Headers(), 1000) {
			ix.Header(i)
		}
		end := info.Start()
		for i := range min(ix.Spans(), 1000) {
			sp := ix.Span(i)
			if sp.Out != end || sp.Len() <= 0 {
				t.Fatalf("span %d: [%d, %d) after %d", i, sp.Out, sp.OutEnd, end)
			}
			end = sp.OutEnd
			if info.Codec.Chunked() {
				for _, c := range ix.Chunks(sp) {
					if c.In < sp.In || c.In >= sp.InEnd || sp.InEnd > info.BlobSize || c.File != NoFile && c.File >= ix.Headers() {
						t.Fatalf("span %d: %+v has the chunk %+v", i, sp, c)
					}
				}
				continue
			}
			for b := range min(int(blocks(sp.Len())), 100) {
				ix.Sum(sp, b)
			}
			if _, err := ix.Point(sp); err != nil && !strings.Contains(err.Error(), "window") {
				t.Fatalf("Point %d: %v", i, err)
			}
		}
	})
}
