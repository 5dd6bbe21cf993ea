package inflate

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
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
