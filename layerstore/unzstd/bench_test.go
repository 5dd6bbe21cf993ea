package unzstd

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// benchInput is the zstd file that MICA_BENCH_ZSTD names, or one made up.
func benchInput(b *testing.B) []byte {
	if name := os.Getenv("MICA_BENCH_ZSTD"); name != "" {
		zst, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return zst
	}
	var plain []byte
	t := texts(4 << 20)
	for _, name := range []string{"words", "mixed", "skewed", "noise", "far"} {
		plain = append(plain, t[name]...)
	}
	return pack(plain, true)
}

// cpuTime is what this process has used: a measure that others on the machine disturb less.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead decodes one stream by this package, without and with Points,
// and by klauspost/compress.
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
