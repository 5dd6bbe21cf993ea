package toc

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chunkIndex makes an index of chunks, which give no header.
func chunkIndex(t testing.TB, info Info, chunks []Chunk, headers []Header) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "index")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		w.AddHeader(h, &Entry{Path: "a", Type: Regular})
	}
	for _, c := range chunks {
		w.AddChunk(c)
		info.LayerSize += c.Len
	}
	w.FinishChunks(info.BlobSize - 100)
	if err := w.Finish(info); err != nil {
		t.Fatal(err)
	}
	return path
}

func chunkInfo() Info {
	return Info{Codec: EStargz, BlobSize: 1 << 30, Digest: "sha256:d", Table: "sha256:t"}
}

func TestChunkSpans(t *testing.T) {
	alone := func(in, n int64) Chunk { return Chunk{In: in, Len: n, File: NoFile} }
	many := func(n int, c func(i int64) Chunk) (all []Chunk) {
		for i := range n {
			all = append(all, c(int64(i)))
		}
		return all
	}
	for _, tt := range []struct {
		about  string
		chunks []Chunk
		counts []int   // of chunks by span
		ends   []int64 // where spans end in the blob
	}{
		{"none", nil, nil, nil},
		{"one", []Chunk{alone(5, 10)}, []int{1}, []int64{1<<30 - 100}},
		{"small ones together", many(3, func(i int64) Chunk { return alone(i, 1000) }), []int{3}, []int64{1<<30 - 100}},
		{"a large one by itself", []Chunk{alone(1, 1000), alone(2, MaxChunk), alone(3, 1000)}, []int{1, 1, 1}, []int64{2, 3, 1<<30 - 100}},
		{"up to 256 KiB", many(8, func(i int64) Chunk { return alone(i, 64<<10) }), []int{4, 4}, []int64{4, 1<<30 - 100}},
		{"up to 128", many(300, func(i int64) Chunk { return alone(i, 1) }), []int{128, 128, 44}, []int64{128, 256, 1<<30 - 100}},
		{"all of a member", many(10, func(i int64) Chunk { return Chunk{In: 7, Skip: i * 70_000, Len: 60_000, File: NoFile} }), []int{10}, []int64{1<<30 - 100}},
		{"a member that is shared by spans", many(200, func(i int64) Chunk { return Chunk{In: i / 150, Skip: i * 512, Len: 1, File: NoFile} }), []int{128, 72}, []int64{1, 1<<30 - 100}},
	} {
		ix, err := OpenIndex(chunkIndex(t, chunkInfo(), tt.chunks, nil))
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		var counts []int
		var ends []int64
		var got []Chunk
		info := ix.Info()
		out := info.Start()
		for i := range ix.Spans() {
			sp := ix.Span(i)
			chunks := ix.Chunks(sp)
			if sp.Out != out || sp.In != chunks[0].In || ix.SpanAt(sp.Out) != i || ix.SpanAt(sp.OutEnd-1) != i {
				t.Errorf("%s: span %d = %+v after %d", tt.about, i, sp, out)
			}
			out = sp.OutEnd
			counts, ends, got = append(counts, len(chunks)), append(ends, sp.InEnd), append(got, chunks...)
		}
		if out != info.End() {
			t.Errorf("%s: spans end at %d, want %d", tt.about, out, info.End())
		}
		if diff := cmp.Diff([]any{tt.counts, tt.ends, tt.chunks}, []any{counts, ends, got}); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.about, diff)
		}
		if info.Table != "sha256:t" {
			t.Errorf("%s: Table = %q", tt.about, info.Table)
		}
		ix.Close()
	}
}

// An index of chunks that makes no sense does not open, whatever its checksums.
func TestChunksRefused(t *testing.T) {
	good := []Chunk{{In: 10, Len: 100, File: 0}, {In: 20, Skip: 5, Len: 100, File: NoFile}, {In: 20, Skip: 105, Len: 7, File: 0}}
	header := Header{In: 3, Skip: 512, End: 10}
	for _, tt := range []struct {
		about string
		edit  func(c []Chunk, h *Header)
	}{
		{"nothing changed", func([]Chunk, *Header) {}},
		{"falling", func(c []Chunk, _ *Header) { c[0].In = 21 }},
		{"overlapping", func(c []Chunk, _ *Header) { c[2].Skip = 104 }},
		{"empty", func(c []Chunk, _ *Header) { c[1].Len = 0 }},
		{"too long", func(c []Chunk, _ *Header) { c[1].Len = MaxChunk + 1 }},
		{"too far inside", func(c []Chunk, _ *Header) { c[2].Skip = MaxSkip + 1 }},
		{"beyond the end", func(c []Chunk, _ *Header) { c[2].In = 1 << 30 }},
		{"no such header", func(c []Chunk, _ *Header) { c[2].File = 1 }},
		{"header that ends before it begins", func(_ []Chunk, h *Header) { h.End = 2 }},
		{"the same in one member", func(_ []Chunk, h *Header) { h.End = 3 }},
		{"header beyond the blob", func(_ []Chunk, h *Header) { h.End = 1<<30 + 1 }},
		{"negative", func(_ []Chunk, h *Header) { h.Skip = -1 }},
	} {
		chunks, h := append([]Chunk{}, good...), header
		tt.edit(chunks, &h)
		ix, err := OpenIndex(chunkIndex(t, chunkInfo(), chunks, []Header{h}))
		if (err == nil) != (tt.about == "nothing changed") {
			t.Errorf("%s: OpenIndex: %v", tt.about, err)
		}
		if err == nil {
			got := ix.Header(0)
			h.Sum = got.Sum
			if ix.Headers() != 1 || got != h {
				t.Errorf("Header = %+v, want %+v", got, h)
			}
			ix.Close()
		}
	}
}
