package unzstd

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestRead(t *testing.T) {
	all, err := long()
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	for i, s := range all {
		sizes := [][]int{{1 << 20}, {100_003, 7, 65_536}, {4096}}[i%3]
		r.Reset(bytes.NewReader(s.zst), Options{})
		got, err := readAll(&r, sizes...)
		if err != nil || !bytes.Equal(got, s.plain) {
			t.Fatalf("%s, buffers %v: %d bytes, %v; want the %d of the original", s.about, sizes, len(got), err, len(s.plain))
		}
	}
}

func TestResume(t *testing.T) {
	var r Reader
	kinds := map[PointKind]int{}
	all, err := long()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		for _, spacing := range []int64{1, 140_000}[i%2:][:1] {
			points, err := pointsOf(s, spacing)
			if err != nil {
				t.Fatalf("%s, spacing %d: %v", s.about, spacing, err)
			}
			if p := points[0]; p.Out != 0 || p.Kind != AtFrame {
				t.Errorf("%s: first point %+v, want one at the start", s.about, p)
			}
			for i, p := range points {
				kinds[p.Kind]++
				end, next := int64(len(s.zst)), int64(len(s.plain))
				if i+1 < len(points) {
					end, next = points[i+1].In, points[i+1].Out
				}
				if next <= p.Out || next-p.Out > spacing+maxBlock {
					t.Errorf("%s: spacing %d: points at %d and %d", s.about, spacing, p.Out, next)
				}
				if err := r.Resume(bytes.NewReader(s.zst), p, end); err != nil {
					t.Fatalf("%s: %v", s.about, err)
				}
				got := make([]byte, next-p.Out)
				if n, err := r.Read(got); n < len(got) || !bytes.Equal(got, s.plain[p.Out:next]) {
					t.Fatalf("%s: resumed at %d → %d, kind %d: %d bytes, %v; want the %d of the original",
						s.about, p.In, p.Out, p.Kind, n, err, len(got))
				}
				if n, err := r.Read(make([]byte, 1)); n > 0 || err == nil {
					t.Errorf("%s: resumed at %d: there is more after %d bytes", s.about, p.Out, len(got))
				}
				if i != len(points)/2 {
					continue
				}
				if err := readPast(&r, s, p, len(got)); err != nil {
					t.Errorf("%s: resumed at %d: %v", s.about, p.Out, err)
				}
			}
		}
	}
	for _, k := range []PointKind{AtFrame, AtBlock} {
		if kinds[k] == 0 {
			t.Errorf("no point of kind %d in all samples", k)
		}
	}
}

// readPast resumes at p and reads on past the n bytes of its span: there may be an
// error, but nothing that is wrong.
func readPast(r *Reader, s sample, p Point, n int) error {
	if err := r.Resume(bytes.NewReader(s.zst), p, int64(len(s.zst))); err != nil {
		return err
	}
	got, err := readAll(r, 1<<20)
	var bad *FormatError
	if err != nil && !errors.As(err, &bad) {
		return fmt.Errorf("read past the next point: error %v (%T), want a *FormatError", err, err)
	}
	if len(got) < n || !bytes.HasPrefix(s.plain[p.Out:], got) {
		return fmt.Errorf("read past the next point: %d bytes, %v; want at least %d, and those of the original", len(got), err, n)
	}
	if err == nil && len(got) < len(s.plain[p.Out:]) {
		return fmt.Errorf("read past the next point: the end after %d bytes; want %d or an error", len(got), len(s.plain[p.Out:]))
	}
	return nil
}
