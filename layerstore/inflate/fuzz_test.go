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
	var j judge
	buf := make([]byte, maxJudged)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := j.compare(raw); err != nil {
			t.Error(err)
		}
		// Zeros after the stream let the fast loop run to its end.
		gz := wrap(append(raw, make([]byte, 2*inSlack)...), nil)
		got, gotErr := j.decode(&j.r, gz, j.buf, maxJudged)
		want, wantErr := j.decode(&j.plain, gz, buf, outSlack)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes, by the plain loop %d others", len(got), len(want))
		}
		if len(got) < maxJudged && fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("error %v, by the plain loop %v", gotErr, wantErr)
		}
	})
}

// errorOf says whether err is one that a stream may end with.
func errorOf(err error) bool {
	var bad *FormatError
	return err == io.EOF || errors.As(err, &bad) || errors.Is(err, io.ErrUnexpectedEOF)
}

// FuzzGzip looks at whole streams: members, headers, what follows. Each Point
// is resumed.
func FuzzGzip(f *testing.F) {
	for _, s := range samples(f, 100) {
		f.Add(s.gz)
	}
	f.Add([]byte(header(flagHeaderCRC|flagExtra|flagName, "\x01\x00x", "n\x00") + "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	var r Reader
	all, again := make([]byte, maxJudged), make([]byte, maxJudged)
	f.Fuzz(func(t *testing.T, gz []byte) {
		var points []Point
		r.Reset(bytes.NewReader(gz), Options{Spacing: 1, OnPoint: func(p Point) { points = append(points, p) }})
		n, err := r.Read(all)
		if err == nil && n < len(all) {
			_, err = r.Read(all[n:])
		}
		if n < len(all) && !errorOf(err) {
			t.Fatalf("error %v (%T), want a *FormatError, io.EOF or io.ErrUnexpectedEOF", err, err)
		}
		if r.Trailing() < 0 || r.InputOffset() > int64(len(gz)) {
			t.Fatalf("offset %d and %d trailing, of %d bytes", r.InputOffset(), r.Trailing(), len(gz))
		}
		for _, p := range points {
			if err := r.Resume(bytes.NewReader(gz), p, int64(len(gz))); err != nil {
				t.Fatalf("point %+v: %v", p, err)
			}
			want := all[min(p.Out, int64(n)):n]
			got := again[:len(want)]
			if _, err := io.ReadFull(&r, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("resumed at %d.%d → %d, kind %d: not the %d bytes, %v", p.In, p.Bit, p.Out, p.Kind, len(want), err)
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
	var r Reader
	buf := make([]byte, maxJudged)
	f.Fuzz(func(t *testing.T, gz []byte, in int64, bit, kind uint8, head int64, headBit uint8, window []byte) {
		p := Point{In: in, Bit: bit, Out: 1 << 40, Kind: PointKind(kind), Head: head, HeadBit: headBit, Window: window}
		if r.Resume(bytes.NewReader(gz), p, int64(len(gz))) != nil {
			return
		}
		n, err := r.Read(buf)
		if err == nil && n < len(buf) {
			_, err = r.Read(buf[n:])
		}
		if n < len(buf) && !errorOf(err) {
			t.Fatalf("error %v (%T), want a *FormatError, io.EOF or io.ErrUnexpectedEOF", err, err)
		}
	})
}
