package writable

import (
	"math/rand/v2"
	"testing"

	"mica/overlay"
)

// TestLookups counts at random, beside a map.
func TestLookups(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l lookups
	want := map[overlay.NodeID]uint64{}
	ids := []overlay.NodeID{1, 2, countsInPage - 1, countsInPage, 5 * countsInPage, 3<<49 | 77}
	for range 100_000 {
		id := ids[r.IntN(len(ids))]
		switch r.IntN(20) {
		case 0:
			if got := l.take(id); got != want[id] {
				t.Fatalf("take(%d): %d, want %d", id, got, want[id])
			}
			want[id] = 0
		case 1:
			n := uint64(r.IntN(400))
			left := want[id] - min(n, want[id])
			if none := l.sub(id, n); none != (left == 0) {
				t.Fatalf("sub(%d, %d): none left %v, want %v", id, n, none, left == 0)
			}
			want[id] = left
		default:
			l.add(id)
			want[id]++
		}
	}
	for id, n := range want {
		if got := l.take(id); got != n {
			t.Errorf("take(%d): %d, want %d", id, got, n)
		}
	}
	if len(l.pages) != 0 || len(l.more) != 0 {
		t.Errorf("%d pages and %d counts are left of nothing", len(l.pages), len(l.more))
	}
}
