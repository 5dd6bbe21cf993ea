package unzstd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// TestCut cuts streams off anywhere.
func TestCut(t *testing.T) {
	j := newJudge()
	for _, s := range samplesOf(t, 100) {
		for n := range s.zst {
			j.fast.Reset(bytes.NewReader(s.zst[:n]), Options{})
			got, err := read(&j.fast, j.buf)
			// Between frames is no bad place to end.
			whole := err == nil && n > 0
			if !whole && err != io.ErrUnexpectedEOF {
				t.Fatalf("%s, cut at %d: error %v, want %v", s.about, n, err, io.ErrUnexpectedEOF)
			}
			if !bytes.HasPrefix(s.plain, got) {
				t.Fatalf("%s, cut at %d: %d bytes that are not the original's", s.about, n, len(got))
			}
			if err := j.compare(s.zst[:n]); err != nil {
				t.Fatalf("%s, cut at %d: %v", s.about, n, err)
			}
		}
	}
}

// TestFlipped changes single bits.
func TestFlipped(t *testing.T) {
	j := newJudge()
	for i, s := range samplesOf(t, 40) {
		if i%2 > 0 {
			continue
		}
		for i := range 8 * len(s.zst) {
			zst := bytes.Clone(s.zst)
			zst[i/8] ^= 1 << (i % 8)
			if err := j.compare(zst); err != nil {
				t.Fatalf("%s, bit %d flipped: %v", s.about, i, err)
			}
		}
	}
}

// TestDamaged changes bytes of longer streams without checksums, so that the damage
// gets as far as it can. MICA_TEST_DAMAGE says how often.
func TestDamaged(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("MICA_TEST_DAMAGE"))
	rounds = max(rounds, 6)
	rng := rand.New(rand.NewPCG(3, uint64(rounds)))
	j := newJudge()
	for _, s := range samplesOf(t, 10_000) {
		// The checksum flag is cleared, the checksum becomes trailing garbage: that
		// is found after the data.
		if s.zst[4]&4 == 0 || s.zst[0]&0xf0 == 0x50 {
			continue
		}
		for range rounds {
			zst := bytes.Clone(s.zst[:len(s.zst)-4])
			zst[4] &^= 4
			for range 1 + rng.IntN(2) {
				at := 5 + rng.IntN(len(zst)-5)
				if rng.IntN(2) == 0 {
					at = 5 + rng.IntN(min(60, len(zst)-5))
				}
				zst[at] ^= 1 << rng.IntN(8)
			}
			if err := j.compare(zst); err != nil {
				t.Fatalf("%s: %v", s.about, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	hello := pack([]byte("hello"), false)
	head := []byte{0x28, 0xb5, 0x2f, 0xfd}
	for _, tt := range []struct {
		about string
		zst   []byte
		out   string
		want  error
	}{
		{about: "nothing", want: io.ErrUnexpectedEOF},
		{about: "no zstd", zst: []byte("hello"), want: &FormatError{0, "no zstd frame"}},
		{about: "NULs after the last frame", zst: append(bytes.Clone(hello), make([]byte, 1<<20)...), out: "hello",
			want: &FormatError{int64(len(hello)), "1048576 bytes after the last frame that are no frame"}},
		{about: "a byte after the last frame", zst: append(bytes.Clone(hello), 7), out: "hello",
			want: &FormatError{int64(len(hello)), "1 bytes after the last frame that are no frame"}},
		{about: "the magic after the last frame", zst: append(bytes.Clone(hello), head[:3]...), out: "hello", want: io.ErrUnexpectedEOF},
		{about: "a dictionary", zst: append(bytes.Clone(head), 0x22, 1, 2, 3, 4, 5, 6), want: &FormatError{0, "frame needs dictionary 513"}},
		{about: "a window of 2 TiB", zst: append(bytes.Clone(head), 0, 0xff), want: &WindowError{0, 1<<41 + 7<<38, 16 << 20}},
		{about: "a single segment of 1 GiB", zst: append(bytes.Clone(head), 0xa0, 0, 0, 0, 0x40), want: &WindowError{0, 1 << 30, 16 << 20}},
		{about: "a reserved bit", zst: append(bytes.Clone(head), 8, 0, 0), want: &FormatError{0, "reserved bit set in a frame header"}},
		{about: "a reserved block", zst: append(bytes.Clone(head), 0, 0, 7, 0, 0), want: &FormatError{6, "reserved block type"}},
		{about: "a block larger than the window", zst: append(bytes.Clone(head), 0, 0, 8*1+3, 32, 0, 'x'), want: &FormatError{6, "block is too large"}},
		{about: "less than the content size", zst: append(bytes.Clone(head), 0x20, 6, 5*8+1, 0, 0, 'h', 'e', 'l', 'l', 'o'), out: "hello",
			want: &FormatError{14, "frame ends 1 bytes before its content size"}},
		{about: "more than the content size", zst: append(bytes.Clone(head), 0x20, 4, 5*8+1, 0, 0, 'h', 'e', 'l', 'l', 'o'),
			want: &FormatError{14, "frame has more than its content size"}},
		{about: "a wrong checksum", zst: append(bytes.Clone(hello[:len(hello)-1]), ^hello[len(hello)-1]), out: "hello",
			want: &FormatError{int64(len(hello) - 4), "checksum of a frame's content is wrong"}},
	} {
		r := NewReader(bytes.NewReader(tt.zst), Options{})
		got, err := io.ReadAll(r)
		if string(got) != tt.out || err == nil || err.Error() != tt.want.Error() {
			t.Errorf("%s: %q, %v; want %q, %v", tt.about, got, err, tt.out, tt.want)
		}
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("%s: error %v, the second time %v", tt.about, err, again)
		}
	}
}

// failing gives b and then an error.
type failing struct {
	b   []byte
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	if len(f.b) == 0 {
		return 0, f.err
	}
	n := copy(p, f.b[:1])
	f.b = f.b[n:]
	return n, nil
}

func TestSourceFails(t *testing.T) {
	plain := bytes.Repeat([]byte("hello "), 100)
	zst := pack(plain, true)
	want := errors.New("the network is down")
	for n := range zst {
		got, err := io.ReadAll(NewReader(&failing{zst[:n], want}, Options{}))
		if err != want || !bytes.HasPrefix(plain, got) {
			t.Fatalf("source fails at %d: %d bytes, %v; want %v", n, len(got), err, want)
		}
	}
	if got, err := io.ReadAll(NewReader(&failing{zst, io.EOF}, Options{})); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("read byte by byte: %d bytes, %v; want %d", len(got), err, len(plain))
	}
}
