package inflate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// pointsOf decodes gz and gives its Points.
func pointsOf(t *testing.T, gz []byte, spacing int64) []Point {
	t.Helper()
	var points []Point
	r := NewReader(bytes.NewReader(gz), Options{Spacing: spacing, OnPoint: func(p Point) { points = append(points, p) }})
	if _, err := readAll(r, 100_001); err != nil {
		t.Fatal(err)
	}
	return points
}

// bounded is a blob that must not be read at or past end.
type bounded struct {
	t    *testing.T
	blob []byte
	end  int64
}

func (b bounded) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.end {
		b.t.Errorf("ReadAt of %d bytes at %d, end is %d", len(p), off, b.end)
	}
	return bytes.NewReader(b.blob).ReadAt(p, off)
}

// TestResume resumes at each Point of many streams, with as much input as it
// takes to get to the next one, and compares the output in between.
func TestResume(t *testing.T) {
	var r Reader
	kinds := map[PointKind]int{}
	for _, s := range append(samples(t, 150_000), toolSamples(t, 150_000)...) {
		for _, spacing := range []int64{1, 64 << 10} {
			points := pointsOf(t, s.gz, spacing)
			if p := points[0]; p.In != 0 || p.Out != 0 || p.Kind != AtMember {
				t.Errorf("%s: first point %+v, want one at the start", s.about, p)
			}
			for i, p := range points {
				kinds[p.Kind]++
				end, next := int64(len(s.gz)), int64(len(s.plain))
				if i+1 < len(points) {
					end, next = points[i+1].End(), points[i+1].Out
				}
				if next <= p.Out || next-p.Out > max(2*spacing, windowSize)+64<<10 {
					t.Errorf("%s: spacing %d: points at %d and %d", s.about, spacing, p.Out, next)
				}
				if err := r.Resume(bounded{t, s.gz, end}, p, end); err != nil {
					t.Fatalf("%s: %v", s.about, err)
				}
				got := make([]byte, next-p.Out)
				if n, err := io.ReadFull(&r, got); err != nil || !bytes.Equal(got, s.plain[p.Out:next]) {
					t.Fatalf("%s: resumed at %d.%d → %d, kind %d: %d bytes, %v; want the %d of the original",
						s.about, p.In, p.Bit, p.Out, p.Kind, n, err, len(got))
				}
				if r.OutputOffset() != next {
					t.Errorf("%s: resumed at %d, read %d bytes: offset %d", s.about, p.Out, len(got), r.OutputOffset())
				}
			}
		}
	}
	for _, k := range []PointKind{AtMember, AtBlock, InBlock} {
		if kinds[k] == 0 {
			t.Errorf("no point of kind %d in all samples", k)
		}
	}
}

// TestResumeToTheEnd goes on from each Point through all that follows.
func TestResumeToTheEnd(t *testing.T) {
	for _, s := range samples(t, 150_000) {
		for _, p := range pointsOf(t, s.gz, 40_000) {
			r, err := Resume(bytes.NewReader(s.gz), p, int64(len(s.gz)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(r, 70_000, 300)
			if err != nil || !bytes.Equal(got, s.plain[p.Out:]) {
				t.Errorf("%s: from %d on: %d bytes, %v", s.about, p.Out, len(got), err)
			}
		}
	}
}

// TestWindow holds windows against what the stream refers to.
func TestWindow(t *testing.T) {
	// 40,000 bytes of noise, stored; then in a fixed block a match of 10 bytes from 30,000
	// back, one of 5 from 5 back, and one of 4 that ends with bytes of the second.
	noise := texts(40_000)[1].plain
	var w bitWriter
	w.put(0, 3)
	w.put(0, 5)
	w.put(40_000|(0xffff-40_000)<<16, 32)
	w.b = append(w.b, noise...)
	w.n += 8 * 40_000
	w.put(1|1<<1, 3)
	match := func(lengthSym, extra, nExtra, distSym, distExtra, nDistExtra uint) {
		w.put(uint(reverse(int(lengthSym-256), 7)), 7)
		w.put(extra, nExtra)
		w.put(uint(reverse(int(distSym), 5)), 5)
		w.put(distExtra, nDistExtra)
	}
	match(264, 0, 0, 29, 30_000-24_577, 13)
	match(259, 0, 0, 4, 0, 1)
	match(258, 0, 0, 5, 0, 1) // dist 7
	w.put(0, 7)

	plain := bytes.Clone(noise)
	for _, m := range []struct{ length, dist int }{{10, 30_000}, {5, 5}, {4, 7}} {
		for range m.length {
			plain = append(plain, plain[len(plain)-m.dist])
		}
	}
	want := make([]byte, 30_000)
	copy(want, noise[10_000:10_010])
	points := pointsOf(t, wrap(w.b, plain), 30_000)
	if len(points) != 2 || points[1].Kind != AtBlock || points[1].Out != 40_000 {
		t.Fatalf("points %+v, want one at the start and one at 40000", points)
	}
	if got := points[1].Window; !bytes.Equal(got, want) {
		t.Errorf("window of %d bytes, want 30000, the first 10 of them as in the output, the rest zero", len(got))
	}
}

// TestFewPoints sees that tiny members and blocks do not get a Point each.
func TestFewPoints(t *testing.T) {
	many := bytes.Repeat(gzipped(make([]byte, 1000), 1, false), 1000)
	points := pointsOf(t, many, 100_000)
	if len(points) != 10 {
		t.Errorf("%d points in 1 MB of members of 1 kB at a spacing of 100 kB, want 10", len(points))
	}
}

// TestCheckedAfterResume sees that a member that begins after the Point has its CRC checked.
func TestCheckedAfterResume(t *testing.T) {
	a, b := texts(100_000)[0].plain, texts(1000)[3].plain
	gz := append(gzipped(a, 6, false), gzipped(b, 6, false)...)
	points := pointsOf(t, gz, 50_000)
	gz[len(gz)-8] ^= 1
	r, err := Resume(bytes.NewReader(gz), points[1], int64(len(gz)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(r, 1<<20)
	var bad *FormatError
	if want := len(a) - int(points[1].Out) + len(b); len(got) != want || !errors.As(err, &bad) {
		t.Errorf("%d bytes, %v; want %d and a *FormatError", len(got), err, want)
	}
}

func TestResumeEnds(t *testing.T) {
	plain := texts(150_000)[6].plain
	gz := append(gzipped(plain, 6, false), gzipped(plain, 6, false)...)
	points := pointsOf(t, gz, 60_000)
	for i, p := range points[:len(points)-1] {
		next := points[i+1]
		r, err := Resume(bytes.NewReader(gz), p, next.End())
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(r, 1<<20)
		want := io.ErrUnexpectedEOF
		if next.Kind == AtMember {
			want = nil // no more members before end
		}
		if err != want || int64(len(got)) < next.Out-p.Out {
			t.Errorf("resumed at %d up to %d: %d bytes, %v; want %d, %v", p.Out, next.In, len(got), err, next.Out-p.Out, want)
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	for _, p := range []Point{
		{},
		{Kind: AtMember, Bit: 1},
		{Kind: AtMember, Window: []byte("x")},
		{Kind: AtBlock, Bit: 8},
		{Kind: AtBlock, In: -1},
		{Kind: AtBlock, Out: -1},
		{Kind: AtBlock, Window: make([]byte, windowSize+1)},
		{Kind: InBlock, In: 5, Head: 6},
		{Kind: InBlock, In: 5, Head: -1},
		{Kind: InBlock + 1},
	} {
		if _, err := Resume(bytes.NewReader(nil), p, 100); err == nil {
			t.Errorf("Resume(%+v) says nothing", p)
		}
	}
	// A Point whose block is none that has symbols.
	stored := gzipped([]byte("abc"), 0, false)
	r, err := Resume(bytes.NewReader(stored), Point{Kind: InBlock, In: 15, Head: 10}, int64(len(stored)))
	if err != nil {
		t.Fatal(err)
	}
	var bad *FormatError
	if _, err := r.Read(make([]byte, 1)); !errors.As(err, &bad) {
		t.Errorf("resumed in a stored block: %v, want a *FormatError", err)
	}
}

func TestResumeReuses(t *testing.T) {
	plain := texts(300_000)[6].plain
	gz := gzipped(plain, 6, false)
	p := pointsOf(t, gz, 100_000)[1]
	src := bytes.NewReader(gz)
	var r Reader
	buf := make([]byte, 100_000)
	allocs := testing.AllocsPerRun(10, func() {
		if err := r.Resume(src, p, int64(len(gz))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(&r, buf); err != nil || !bytes.Equal(buf, plain[p.Out:][:len(buf)]) {
			t.Fatal(fmt.Errorf("wrong bytes, %v", err))
		}
	})
	if allocs > 0 {
		t.Errorf("Resume and Read: %v allocations, want 0", allocs)
	}
}
