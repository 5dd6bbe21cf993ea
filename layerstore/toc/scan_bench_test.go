package toc

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// benchTar is a tar like a layer of a distribution: 40,000 entries in 3,000
// directories, sizes of 0 to 8 KiB, one in ten a symlink, one in fifty with a
// PAX header.
func benchTar(tb testing.TB) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	data := make([]byte, 8<<10)
	mtime := time.Unix(1700000000, 0)
	for i := range 40_000 {
		h := &tar.Header{
			Name:     fmt.Sprintf("usr/share/doc/package-%d/file-number-%d", i/13, i),
			Typeflag: tar.TypeReg, Mode: 0o644, ModTime: mtime, Size: rng.Int64N(int64(len(data))),
		}
		switch {
		case i%13 == 0:
			h.Name, h.Typeflag, h.Mode, h.Size = h.Name[:bytes.LastIndexByte([]byte(h.Name), '/')+1], tar.TypeDir, 0o755, 0
		case i%10 == 0:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "../target", 0
		case i%50 == 1:
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00"}
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(data[:h.Size]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// BenchmarkScan40k has archive/tar as its baseline, which seeks over contents too.
func BenchmarkScan40k(b *testing.B) {
	layer := benchTar(b)
	for _, bb := range []struct {
		name string
		scan func() (int, error)
	}{
		{"ReaderAt", func() (n int, err error) {
			_, err = Scan(NewReaderAtSource(bytes.NewReader(layer), int64(len(layer))), func(*Entry) error { n++; return nil })
			return n, err
		}},
		{"Reader", func() (n int, err error) {
			_, err = Scan(NewReaderSource(bytes.NewReader(layer)), func(*Entry) error { n++; return nil })
			return n, err
		}},
		{"archive-tar", func() (n int, err error) {
			for r := tar.NewReader(bytes.NewReader(layer)); ; n++ {
				if _, err := r.Next(); err == io.EOF {
					return n, nil
				} else if err != nil {
					return n, err
				}
			}
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(layer)))
			for b.Loop() {
				if n, err := bb.scan(); n != 40_000 || err != nil {
					b.Fatalf("%d entries, %v", n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/40_000, "ns/entry")
		})
	}
}
