package unzstd

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// repeats is noise again and again, which a window has all of.
func repeats(n, times, window int) sample {
	noise := make([]byte, n)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	plain := bytes.Repeat(noise, times)
	return sample{about: "repeats", plain: plain, zst: pack(plain, true, zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest))}
}

// TestStretch: where points would keep more than the stream has, there are fewer.
func TestStretch(t *testing.T) {
	const spacing = 1 << 20
	s := repeats(900_000, 20, spacing)
	var points []Point
	r := NewReader(bytes.NewReader(s.zst), Options{Spacing: spacing, OnPoint: func(p Point) { points = append(points, p) }})
	r.points.room = 2 * spacing
	if got, err := readAll(r, 1<<20); err != nil || !bytes.Equal(got, s.plain) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var longest int64
	for i, p := range points {
		end, next := int64(len(s.zst)), int64(len(s.plain))
		if i+1 < len(points) {
			end, next = points[i+1].In, points[i+1].Out
		}
		longest = max(longest, next-p.Out)
		r, err := Resume(bytes.NewReader(s.zst), p, end)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, next-p.Out)
		if n, err := r.Read(got); n < len(got) || !bytes.Equal(got, s.plain[p.Out:next]) {
			t.Errorf("resumed at %d: %d bytes, %v", p.Out, n, err)
		}
	}
	if longest < stretch*spacing || longest > stretch*spacing+2*maxBlock {
		t.Errorf("the longest span has %d bytes, want %d and a block", longest, stretch*spacing)
	}
}

// TestLargeRing decodes in a file, takes it up again, and leaves none behind.
func TestLargeRing(t *testing.T) {
	s := repeats(3_000_000, 30, 64<<20)
	mapped := func(r *Reader) bool { return r.history.mapped != nil }
	var r Reader
	for range 3 {
		r.Reset(bytes.NewReader(s.zst), Options{MaxWindow: 64 << 20})
		if got, err := readAll(&r, 1_000_001); err != nil || !bytes.Equal(got, s.plain) || !mapped(&r) {
			t.Fatalf("%d bytes, %v, in a file: %v", len(got), err, mapped(&r))
		}
	}
	t.Setenv("TMPDIR", "/nonexistent")
	if data := mapScratch(1 << 20); data == nil {
		t.Error("no other place than TMPDIR")
	} else {
		unmapRing(data)
	}
	small := pack([]byte("small"), false)
	r.Reset(bytes.NewReader(small), Options{})
	if got, err := readAll(&r, 10); string(got) != "small" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	runtime.KeepAlive(&r)
}

// TestOffHeap gives a window up and goes on with another one.
func TestOffHeap(t *testing.T) {
	s := repeats(300_000, 5, 1<<20)
	var r Reader
	r.OffHeap()
	for range 3 {
		r.Reset(bytes.NewReader(s.zst), Options{})
		if got, err := readAll(&r, 1_000_001); err != nil || !bytes.Equal(got, s.plain) || r.history.mapped == nil {
			t.Fatalf("%d bytes, %v, mapped: %v", len(got), err, r.history.mapped != nil)
		}
		if n := r.WindowSize(); n < 1<<20 {
			t.Errorf("a window of %d bytes", n)
		}
		if r.Release(); r.WindowSize() != 0 {
			t.Errorf("%d bytes of a window that was released", r.WindowSize())
		}
	}
}
