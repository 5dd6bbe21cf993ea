package unzstd

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// TestLayer decodes a stream that is longer than its window, whole and from each
// Point, and compares it with what klauspost/compress gives.
func TestLayer(t *testing.T) {
	zst := benchInput(t)
	var points []Point
	ours := NewReader(bytes.NewReader(zst), Options{Spacing: 2 << 20, OnPoint: func(p Point) { points = append(points, p) }})
	size, err := io.Copy(io.Discard, ours)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := zstd.NewReader(bytes.NewReader(zst), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	buf := make([]byte, 300_000)
	var r Reader
	want := make([]byte, len(buf))
	for i, p := range points {
		end, next := int64(len(zst)), size
		if i+1 < len(points) {
			end, next = points[i+1].In, points[i+1].Out
		}
		if err := r.Resume(bytes.NewReader(zst), p, end); err != nil {
			t.Fatal(err)
		}
		for at := p.Out; at < next; {
			n := int(min(int64(len(buf)), next-at))
			if _, err := io.ReadFull(theirs, want[:n]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(&r, buf[:n]); err != nil || !bytes.Equal(buf[:n], want[:n]) {
				t.Fatalf("point %d: %d bytes from %d on: %v, or others than klauspost/compress gives", i, n, at, err)
			}
			at += int64(n)
		}
	}
	if n, err := io.Copy(io.Discard, theirs); n > 0 || err != nil {
		t.Errorf("klauspost/compress gives %d bytes more, %v", n, err)
	}
}

// BenchmarkResume takes up one Point after the other and reads its span.
func BenchmarkResume(b *testing.B) {
	zst := benchInput(b)
	for _, spacing := range []int64{4 << 20, 8 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("%dMiB", spacing>>20), func(b *testing.B) {
			var points []Point
			all := NewReader(bytes.NewReader(zst), Options{Spacing: spacing, OnPoint: func(p Point) { points = append(points, p) }})
			if _, err := io.Copy(io.Discard, all); err != nil {
				b.Fatal(err)
			}
			if len(points) < 3 {
				b.Skip("too short")
			}
			points = points[1 : len(points)-1] // whole spans
			var r Reader
			buf := make([]byte, 256<<10)
			start := cpuTime()
			for i := 0; b.Loop(); i++ {
				if err := r.Resume(bytes.NewReader(zst), points[i%len(points)], int64(len(zst))); err != nil {
					b.Fatal(err)
				}
				for left := spacing; left > 0; {
					n, err := r.Read(buf[:min(int64(len(buf)), left)])
					if err != nil {
						b.Fatal(err)
					}
					left -= int64(n)
				}
			}
			b.SetBytes(spacing)
			b.ReportMetric((cpuTime()-start).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// benchInput is the zstd file that MICA_BENCH_ZSTD names, or one made up.
func benchInput(tb testing.TB) []byte {
	if name := os.Getenv("MICA_BENCH_ZSTD"); name != "" {
		zst, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		return zst
	}
	// Text, and then pieces of what came up to 9 MiB before, and noise.
	rng := rand.New(rand.NewPCG(5, 6))
	plain := texts(1 << 20)["mixed"]
	for len(plain) < 20<<20 {
		at := len(plain) - rng.IntN(min(len(plain), 9<<20)) - 1
		plain = append(plain, plain[at:min(len(plain), at+20+rng.IntN(20_000))]...)
		for range rng.IntN(100) {
			plain = append(plain, byte(rng.Uint32()))
		}
	}
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// cpuTime is what this process has used: a measure that others on the machine
// disturb less.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead decodes one stream by this package, without and with Points, and by
// klauspost/compress.
func BenchmarkRead(b *testing.B) {
	zst := benchInput(b)
	withPoints := func(spacing int64) func(*testing.B, io.Reader) (io.Reader, error) {
		return func(b *testing.B, r io.Reader) (io.Reader, error) {
			states, points := 0, 0
			return NewReader(r, Options{Spacing: spacing, OnPoint: func(p Point) {
				states += len(p.State)
				points++
				b.ReportMetric(100*float64(states)/float64(len(zst)), "%-of-blob")
				b.ReportMetric(float64(states)/float64(points), "bytes/point")
			}}), nil
		}
	}
	for _, bb := range []struct {
		name string
		open func(*testing.B, io.Reader) (io.Reader, error)
	}{
		{"mica", func(_ *testing.B, r io.Reader) (io.Reader, error) { return NewReader(r, Options{}), nil }},
		{"points-4MiB", withPoints(4 << 20)},
		{"points-8MiB", withPoints(8 << 20)},
		{"points-16MiB", withPoints(16 << 20)},
		{"klauspost", func(_ *testing.B, r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			buf := make([]byte, 512<<10)
			var all int64
			start := cpuTime()
			for b.Loop() {
				r, err := bb.open(b, bytes.NewReader(zst))
				if err != nil {
					b.Fatal(err)
				}
				total := 0
				for err == nil {
					var n int
					n, err = r.Read(buf)
					total += n
				}
				if err != io.EOF {
					b.Fatal(err)
				}
				b.SetBytes(int64(total))
				all += int64(total)
			}
			b.ReportMetric(float64(all)/1e6/(cpuTime()-start).Seconds(), "MB/cpu-s")
		})
	}
}
