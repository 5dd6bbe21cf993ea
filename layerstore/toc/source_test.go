package toc

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// Both sources against the bytes themselves, over random reads and skips.
func TestSources(t *testing.T) {
	data := make([]byte, 300<<10)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for name, open := range map[string]func() Source{
		"Reader":           func() Source { return NewReaderSource(bytes.NewReader(data)) },
		"Reader by halves": func() Source { return NewReaderSource(iotest.HalfReader(bytes.NewReader(data))) },
		"Reader with EOF":  func() Source { return NewReaderSource(iotest.DataErrReader(bytes.NewReader(data))) },
		"ReaderAt":         func() Source { return NewReaderAtSource(bytes.NewReader(data), int64(len(data))) },
		"ReaderAt of more": func() Source {
			return NewReaderAtSource(bytes.NewReader(append(data[:len(data):len(data)], "more"...)), int64(len(data)))
		},
	} {
		for range 50 {
			src := open()
			for pos := 0; ; {
				n := 1 + rng.IntN(1<<rng.IntN(18))
				if rng.IntN(2) == 0 {
					got, err := src.Skip(int64(n))
					want := min(n, len(data)-pos)
					if got != int64(want) || (err == io.EOF) != (want < n) {
						t.Fatalf("%s: Skip(%d) at %d of %d = %d, %v", name, n, pos, len(data), got, err)
					}
					pos += want
				} else {
					p := make([]byte, n)
					got, err := io.ReadFull(src, p)
					want := min(n, len(data)-pos)
					if got != want || (err != nil) != (want < n) || !bytes.Equal(p[:got], data[pos:pos+got]) {
						t.Fatalf("%s: read of %d at %d of %d: %d, %v, or other bytes", name, n, pos, len(data), got, err)
					}
					pos += want
				}
				if pos == len(data) {
					break
				}
			}
			if n, err := src.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("%s: at the end: %d, %v", name, n, err)
			}
			if n, err := src.Skip(math.MaxInt64); n != 0 || err != io.EOF {
				t.Fatalf("%s: Skip at the end: %d, %v", name, n, err)
			}
		}
	}
}

// reads counts what is asked of a ReaderAt.
type reads struct {
	io.ReaderAt
	n, bytes int
}

func (r *reads) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	r.n++
	r.bytes += n
	return n, err
}

func TestReaderAtSourceSkips(t *testing.T) {
	large := bytes.Repeat(append(tarHeader(flagRegular, "large", 1<<20), make([]byte, 1<<20)...), 20)
	small := bytes.Repeat(tarFile("small", "x"), 1000)
	for _, tt := range []struct {
		about        string
		layer        []byte
		reads, bytes int // at most
	}{
		{"large files: one small read a header", large, 25, 25 * minAhead},
		{"small files: many headers a read", small, len(small)/maxAhead + 5, len(small)},
	} {
		r := &reads{ReaderAt: bytes.NewReader(tt.layer)}
		_, err := Scan(NewReaderAtSource(r, int64(len(tt.layer))), func(*Entry) error { return nil })
		if err != nil || r.n > tt.reads || r.bytes > tt.bytes {
			t.Errorf("%s: %d reads of %d bytes, want at most %d of %d; %v", tt.about, r.n, r.bytes, tt.reads, tt.bytes, err)
		}
	}
}

func TestSourceErrors(t *testing.T) {
	broken := errors.New("broken")
	src := NewReaderSource(io.MultiReader(bytes.NewReader([]byte("abc")), failing{broken}))
	if n, err := src.Skip(10); n != 3 || err != broken {
		t.Errorf("Skip over an error = %d, %v; want 3, %v", n, err, broken)
	}
	if n, err := src.Read(make([]byte, 1)); n != 0 || err != broken {
		t.Errorf("Read after an error = %d, %v; want %v", n, err, broken)
	}
	if _, err := NewReaderSource(failing{nil}).Read(make([]byte, 1)); err != io.ErrNoProgress {
		t.Errorf("reader that gives nothing: %v, want %v", err, io.ErrNoProgress)
	}
	src = NewReaderAtSource(brokenAt{broken}, 9)
	if n, err := src.Read(make([]byte, 1)); n != 0 || err != broken {
		t.Errorf("ReaderAt that fails: %d, %v; want %v", n, err, broken)
	}
	if _, err := io.ReadFull(NewReaderAtSource(bytes.NewReader([]byte("abc")), 9), make([]byte, 9)); err != io.ErrUnexpectedEOF {
		t.Errorf("ReaderAt shorter than its size: %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

type brokenAt struct{ err error }

func (b brokenAt) ReadAt([]byte, int64) (int, error) { return 0, b.err }
