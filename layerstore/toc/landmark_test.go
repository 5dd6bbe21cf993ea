package toc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLandmarks(t *testing.T) {
	got, sum, err := scanAll(tarOf(tarFile("stargz.index.json", "{}"), tarFile(".prefetch.landmark", "\x0f"), tarFile("./.no.prefetch.landmark", "\x0f"), tarZero))
	if d := cmp.Diff([]Entry{after(6 * 512)}, got); err != nil || d != "" || !sum.Landmarks {
		t.Errorf("at the root: error %v, Landmarks = %v, entries (-want +got):\n%s", err, sum.Landmarks, d)
	}
	got, sum, err = scanAll(tarOf(tarFile("a/stargz.index.json", "{}"), tarDir(".prefetch.landmark"), tarZero))
	if len(got) != 3 || err != nil || sum.Landmarks {
		t.Errorf("in a directory, and a directory: error %v, Landmarks = %v, entries %v", err, sum.Landmarks, got)
	}
}
