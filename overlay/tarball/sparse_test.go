package tarball

import (
	"fmt"
	"strings"
	"testing"

	"mica/layerstore/toc"
)

// TestManyHoles: of more than a map can have, some are filled.
func TestManyHoles(t *testing.T) {
	e := toc.Entry{Path: "f", Type: toc.Regular, Size: 200_000_000}
	for off := int64(0); off < e.Size-1; off += 1024 {
		e.Sparse = append(e.Sparse, toc.Extent{Off: off, Len: 1})
	}
	e.Sparse = append(e.Sparse, toc.Extent{Off: e.Size - 1, Len: 1})
	extents, layout := storedExtents(e.Sparse, e.Size)
	if len(layout) > maxMap || len(layout)%tarBlock != 0 {
		t.Errorf("a map of %d bytes, want at most %d, in blocks", len(layout), maxMap)
	}
	end, next := int64(-1), 0
	for i, x := range extents {
		if x.Off <= end || x.Len <= 0 || x.Off+x.Len > e.Size || x.Off%tarBlock != 0 || x.Len%tarBlock != 0 && i < len(extents)-1 {
			t.Fatalf("extent %d: %+v after %d", i, x, end)
		}
		end = x.Off + x.Len
		for next < len(e.Sparse) && e.Sparse[next].Off >= x.Off && e.Sparse[next].Off < end {
			next++
		}
	}
	if next < len(e.Sparse) {
		t.Errorf("data at %d is in no extent", e.Sparse[next].Off)
	}
}

func TestPaxTime(t *testing.T) {
	for _, tt := range []struct {
		sec  int64
		nsec uint32
		want string
	}{
		{0, 0, "0"}, {1, 5e8, "1.5"}, {1, 1, "1.000000001"}, {-1, 5e8, "-0.5"}, {-2, 75e7, "-1.25"}, {-3, 0, "-3"}, {1 << 40, 999999999, "1099511627776.999999999"},
	} {
		if got := paxTime(toc.Time{Sec: tt.sec, Nsec: tt.nsec}); got != tt.want {
			t.Errorf("paxTime(%d, %d) = %s, want %s", tt.sec, tt.nsec, got, tt.want)
		}
	}
}

// TestPaxRecords: the length of a record counts its own digits, which may make
// it one longer.
func TestPaxRecords(t *testing.T) {
	for n := range 1100 {
		record := string(paxRecords(map[string]string{"k": strings.Repeat("v", n)}))
		length, _, _ := strings.Cut(record, " ")
		if length != fmt.Sprint(len(record)) {
			t.Fatalf("a value of %d bytes: %q long, is %d", n, length, len(record))
		}
	}
}
