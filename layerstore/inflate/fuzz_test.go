package inflate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// FuzzInflate holds deflate streams against compress/flate, and the fast loop
// against the plain one.
func FuzzInflate(f *testing.F) {
	for _, s := range samples(f, 600) {
		f.Add(s.gz[10 : len(s.gz)-8])
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		f.Add(randomBlock(rng))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var j judge
		if err := j.compare(raw); err != nil {
			t.Error(err)
		}
		// Zeros after the stream let the fast loop run to its end.
		gz := wrap(append(raw, make([]byte, 2*inSlack)...), nil)
		got, gotErr := j.decode(&j.r, gz, j.buf, maxJudged)
		want, wantErr := j.decode(&j.plain, gz, make([]byte, maxJudged), outSlack)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes, by the plain loop %d others", len(got), len(want))
		}
		if len(got) < maxJudged && fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("error %v, by the plain loop %v", gotErr, wantErr)
		}
	})
}

// FuzzGzip looks at whole streams: members, headers, what follows.
func FuzzGzip(f *testing.F) {
	for _, s := range samples(f, 100) {
		f.Add(s.gz)
	}
	f.Add([]byte(header(flagHeaderCRC|flagExtra|flagName, "\x01\x00x", "n\x00") + "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, gz []byte) {
		var points []Point
		r := NewReader(bytes.NewReader(gz), Options{Spacing: 1, OnPoint: func(p Point) { points = append(points, p) }})
		all, err := readAll(io.LimitReader(r, maxJudged), 1<<20)
		var bad *FormatError
		if err != nil && !errors.As(err, &bad) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error %v (%T), want a *FormatError or io.ErrUnexpectedEOF", err, err)
		}
		if r.Trailing() < 0 || r.InputOffset() > int64(len(gz)) {
			t.Fatalf("offset %d and %d trailing, of %d bytes", r.InputOffset(), r.Trailing(), len(gz))
		}
		for _, p := range points {
			if p.Out > int64(len(all)) {
				break // past what was asked for
			}
			again, err := Resume(bytes.NewReader(gz), p, int64(len(gz)))
			if err != nil {
				t.Fatalf("point %+v: %v", p, err)
			}
			want := all[p.Out:]
			got := make([]byte, len(want))
			if n, err := io.ReadFull(again, got); n < len(want) || !bytes.Equal(got, want) {
				t.Fatalf("resumed at %d.%d → %d, kind %d: %d bytes, %v; want %d", p.In, p.Bit, p.Out, p.Kind, n, err, len(want))
			}
		}
	})
}

// FuzzResume resumes at places that are none: there must be bytes or a typed error.
func FuzzResume(f *testing.F) {
	gz := gzipped(texts(2000)[6].plain, 6, false)
	f.Add(gz, int64(10), uint8(0), uint8(AtBlock), int64(0), uint8(0), []byte("window"))
	f.Add(gz, int64(200), uint8(3), uint8(InBlock), int64(10), uint8(0), []byte{})
	f.Add(gz, int64(0), uint8(0), uint8(AtMember), int64(0), uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, gz []byte, in int64, bit, kind uint8, head int64, headBit uint8, window []byte) {
		p := Point{In: in, Bit: bit, Out: 1 << 40, Kind: PointKind(kind), Head: head, HeadBit: headBit, Window: window}
		r, err := Resume(bytes.NewReader(gz), p, int64(len(gz)))
		if err != nil {
			return
		}
		_, err = readAll(io.LimitReader(r, maxJudged), 1<<20)
		var bad *FormatError
		if err != nil && !errors.As(err, &bad) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error %v (%T), want a *FormatError or io.ErrUnexpectedEOF", err, err)
		}
	})
}
