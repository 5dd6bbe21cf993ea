package dirs

import (
	"os"
	"testing"

	"mica/overlay"
)

// BenchmarkIndex makes the index of the tree that MICA_BENCH_DIR names.
func BenchmarkIndex(b *testing.B) {
	dir := os.Getenv("MICA_BENCH_DIR")
	if dir == "" {
		b.Skip("MICA_BENCH_DIR names no directory")
	}
	f, _, err := OpenLayer(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		u, err := New([]Layer{{Dir: f, Name: dir, Marks: marks()}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := u.Links(overlay.Root); err != nil {
			b.Fatal(err)
		}
		x, err := u.indexed()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(x.entries)), "names")
		b.ReportMetric(float64(16*cap(x.entries)+cap(x.names)+8*cap(x.dirs))/float64(len(x.entries)), "B/name")
		u.Close()
	}
}
