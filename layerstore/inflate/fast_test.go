package inflate

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// byPlain decodes without the fast loop, which does not run where the output
// has less room than outSlack.
func byPlain(gz []byte, o Options) ([]byte, error) {
	r := NewReader(bytes.NewReader(gz), o)
	var all []byte
	buf := make([]byte, outSlack)
	for r.err == nil {
		all = append(all, buf[:r.decode(buf)]...)
	}
	if r.err != io.EOF {
		return all, r.err
	}
	return all, nil
}

// TestFastLoop holds the fast loop against the plain one: bytes, errors, Points and their windows.
func TestFastLoop(t *testing.T) {
	collect := func(points *[]Point) Options {
		return Options{Spacing: 35_000, OnPoint: func(p Point) { *points = append(*points, p) }}
	}
	for _, s := range samples(t, 80_000) {
		for _, flip := range []int{0, 2} {
			gz := bytes.Clone(s.gz)
			if flip > 0 {
				gz[len(gz)*flip/3] ^= 0x10
			}
			var fast, plain []Point
			got, gotErr := readAll(NewReader(bytes.NewReader(gz), collect(&fast)), 70_001)
			want, wantErr := byPlain(gz, collect(&plain))
			if !bytes.Equal(got, want) {
				t.Errorf("%s, flip %d: %d bytes, by the plain loop %d others", s.about, flip, len(got), len(want))
			}
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("%s, flip %d: error %v, by the plain loop %v", s.about, flip, gotErr, wantErr)
			}
			if diff := cmp.Diff(plain, fast, cmp.Comparer(bytes.Equal)); diff != "" {
				t.Errorf("%s, flip %d: points (- plain, + fast):\n%.1000s", s.about, flip, diff)
			}
		}
	}
}
