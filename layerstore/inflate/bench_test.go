package inflate

import (
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// benchInput is the gzip file that MICA_BENCH_GZIP names, or one made up.
func benchInput(b *testing.B) []byte {
	if name := os.Getenv("MICA_BENCH_GZIP"); name != "" {
		gz, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return gz
	}
	var plain []byte
	for _, t := range texts(1 << 20) {
		plain = append(plain, t.plain...)
	}
	return gzipped(plain, 6, false)
}

// BenchmarkRead decodes one stream by this package, without and with Points,
// and by the two others that Go programs use.
func BenchmarkRead(b *testing.B) {
	gz := benchInput(b)
	for _, bb := range []struct {
		name string
		open func(io.Reader) (io.Reader, error)
	}{
		{"mica", func(r io.Reader) (io.Reader, error) { return NewReader(r, Options{}), nil }},
		{"mica-points", func(r io.Reader) (io.Reader, error) {
			return NewReader(r, Options{Spacing: 1 << 20, OnPoint: func(Point) {}}), nil
		}},
		{"klauspost", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		{"std", func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			buf := make([]byte, 256<<10)
			for b.Loop() {
				r, err := bb.open(bytes.NewReader(gz))
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
			}
		})
	}
}

// BenchmarkPoints tells what the windows of all Points take, each by itself
// and all of them compressed with zstd, in percent of the stream, and what
// finding them costs.
func BenchmarkPoints(b *testing.B) {
	gz := benchInput(b)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, spacing := range []int64{1 << 20, 2 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dMiB", spacing>>20), func(b *testing.B) {
			var points []Point
			buf := make([]byte, 256<<10)
			for b.Loop() {
				points = points[:0]
				r := NewReader(bytes.NewReader(gz), Options{Spacing: spacing, OnPoint: func(p Point) { points = append(points, p) }})
				for {
					if _, err := r.Read(buf); err != nil {
						break
					}
				}
				b.SetBytes(r.OutputOffset())
			}
			var raw, compressed, inside int
			for _, p := range points {
				raw += len(p.Window)
				compressed += len(enc.EncodeAll(p.Window, nil))
				if p.Kind == InBlock {
					inside++
				}
			}
			b.ReportMetric(float64(len(points)), "points")
			b.ReportMetric(float64(inside), "inside")
			b.ReportMetric(100*float64(raw)/float64(len(gz)), "%raw")
			b.ReportMetric(100*float64(compressed)/float64(len(gz)), "%zstd")
		})
	}
}

// BenchmarkResume makes the output from each Point to the next, as a random
// read does.
func BenchmarkResume(b *testing.B) {
	gz := benchInput(b)
	var points []Point
	r := NewReader(bytes.NewReader(gz), Options{Spacing: 1 << 20, OnPoint: func(p Point) { points = append(points, p) }})
	if _, err := io.Copy(io.Discard, r); err != nil {
		b.Fatal(err)
	}
	src := bytes.NewReader(gz)
	buf := make([]byte, 4<<20)
	var total int64
	i := 0
	for b.Loop() {
		p, next := points[i], points[i+1]
		if i++; i == len(points)-1 {
			i = 0
		}
		if err := r.Resume(src, p, next.End()); err != nil {
			b.Fatal(err)
		}
		n := next.Out - p.Out
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			b.Fatal(err)
		}
		total += n
	}
	b.SetBytes(total / int64(b.N))
}
