package unzstd

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// forge lays out a State of the given numbers, up to the tables, and the bytes
// after these.
func forge(window, left, summed uint64, rest ...byte) []byte {
	b := binary.AppendUvarint(nil, window)
	b = binary.AppendUvarint(b, left)
	b = binary.AppendUvarint(b, summed)
	b = append(b, 1, 4, 8)
	return packState(append(b, rest...))
}

func TestForgedState(t *testing.T) {
	whole := forge(1024, 0, 0, 0, 0, 0, 0, 1, 1, 2, 'a', 'b')
	var r Reader
	for _, tt := range []struct {
		about string
		p     Point
		want  string // what the error says; none if empty
	}{
		{about: "as it should be", p: Point{Kind: AtBlock, State: whole}},
		{about: "a frame's start", p: Point{Kind: AtFrame}},
		{about: "a frame's start with a state", p: Point{Kind: AtFrame, State: whole}, want: "no such point"},
		{about: "no kind", p: Point{State: whole}, want: "no such point: kind 0"},
		{about: "before the start", p: Point{Kind: AtFrame, In: -1}, want: "no such point"},
		{about: "past all streams", p: Point{Kind: AtFrame, Out: 1 << 62}, want: "no such point"},
		{about: "no state", p: Point{Kind: AtBlock}, want: "unexpected EOF"},
		{about: "not zstd", p: Point{Kind: AtBlock, State: []byte("hello")}, want: "no zstd frame"},
		{about: "cut off", p: Point{Kind: AtBlock, State: whole[:len(whole)-1]}, want: "unexpected EOF"},
		{about: "ends early", p: Point{Kind: AtBlock, State: forge(1024, 0, 0, 0, 0, 0, 0, 1, 1, 2, 'a')}, want: "unexpected EOF"},
		{about: "goes on", p: Point{Kind: AtBlock, State: forge(1024, 0, 0, 0, 0, 0, 0, 1, 1, 2, 'a', 'b', 'c')}, want: "goes on after its end"},
		{about: "no window", p: Point{Kind: AtBlock, State: forge(0, 0, 0, 0, 0, 0, 0, 0)}, want: "out of range"},
		{about: "a huge window", p: Point{Kind: AtBlock, State: forge(maxWindow+1, 0, 0, 0, 0, 0, 0, 0)}, want: "out of range"},
		{about: "a huge content", p: Point{Kind: AtBlock, State: forge(1024, 1<<63, 0, 0, 0, 0, 0, 0)}, want: "out of range"},
		{about: "two checksums", p: Point{Kind: AtBlock, State: forge(1024, 0, 2, 0, 0, 0, 0, 0)}, want: "out of range"},
		{about: "a run past the window", p: Point{Kind: AtBlock, State: forge(8, 0, 0, 0, 0, 0, 0, 1, 7, 2, 'a', 'b')}, want: "out of range"},
		{about: "an empty run", p: Point{Kind: AtBlock, State: forge(8, 0, 0, 0, 0, 0, 0, 1, 7, 0)}, want: "empty run"},
		{about: "a table that repeats", p: Point{Kind: AtBlock, State: forge(8, 0, 0, 1, repeatedTable, 0, 0, 0, 0)}, want: "unknown kind of table"},
		{about: "a table cut off", p: Point{Kind: AtBlock, State: forge(8, 0, 0, 1, rleTable, 0, 0, 0, 0)}, want: "cut off"},
		{about: "a table too long", p: Point{Kind: AtBlock, State: forge(8, 0, 0, 2, predefinedTable, 0, 0, 0, 0, 0)}, want: "too long"},
		{about: "a damaged tree", p: Point{Kind: AtBlock, State: forge(8, 0, 0, 0, 0, 0, 2, 128, 0, 0)}, want: "out of range"},
	} {
		err := r.Resume(bytes.NewReader(nil), tt.p, 1)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.about, err, tt.want)
		}
		if _, again := r.Read(make([]byte, 1)); err != nil && again != err {
			t.Errorf("%s: Read says %v, want %v", tt.about, again, err)
		}
	}
	if _, err := Resume(bytes.NewReader(nil), Point{}, 0); err == nil {
		t.Error("Resume at no point: no error")
	}
}

// TestMissing resumes with a State that has not got all that the span refers to.
func TestMissing(t *testing.T) {
	s := sample{"far", pack(texts(300_000)["far"], true), texts(300_000)["far"]}
	points, err := pointsOf(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := points[1]
	p.State = forge(1<<20, 0, 0, 0, 0, 0, 0, 0)
	r, err := Resume(bytes.NewReader(s.zst), p, int64(len(s.zst)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(r, 1<<20)
	if len(got) > 0 || err == nil || !strings.Contains(err.Error(), "the point does not have") {
		t.Errorf("%d bytes, %v; want an error that says that the point does not have them", len(got), err)
	}
}

func TestMaxWindow(t *testing.T) {
	for _, tt := range []struct {
		window uint64
		max    int64
		ok     bool
	}{
		{1 << 20, 1 << 20, true}, {1 << 20, 1<<20 - 1, false},
		{16 << 20, 0, true}, {32 << 20, 0, false},
		{128 << 20, 1 << 40, true}, {256 << 20, 1 << 40, false},
	} {
		log := 0
		for 1<<(10+log) < tt.window {
			log++
		}
		zst := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(log << 3), 8 + 1, 0, 0, 'x'}
		got, err := readAll(NewReader(bytes.NewReader(zst), Options{MaxWindow: tt.max}), 10)
		if (err == nil) != tt.ok || (string(got) == "x") != tt.ok {
			t.Errorf("window %d, MaxWindow %d: %q, %v", tt.window, tt.max, got, err)
		}
	}
}
