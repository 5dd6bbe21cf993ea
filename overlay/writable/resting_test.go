package writable

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// TestResting puts nodes to rest and takes them back at random, beside a map.
func TestResting(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	r := resting{dir: t.TempDir()}
	want := map[overlay.NodeID]restingNode{}
	var ids []overlay.NodeID
	for round := range 400_000 {
		// It grows, shrinks to little, grows again, and is empty at last.
		adds := []int{9, 2, 9, 0}[round/100_000]
		if random.IntN(10) < adds {
			n := restingNode{id: overlay.NodeID(random.Uint64N(1<<18)) | overlay.UpperNodes, parent: overlay.NodeID(random.Uint64()), lookups: random.Uint64N(1 << 32),
				counted: random.IntN(2) == 0, mode: []uint32{unix.S_IFREG, unix.S_IFLNK, unix.S_IFCHR, unix.S_IFSOCK}[random.IntN(4)],
				name: fmt.Sprintf("%0*d", 1+random.IntN(255), round)}
			if _, ok := want[n.id]; ok {
				continue
			}
			if !r.fits(&n) {
				n.name = n.name[:255] // of the digits there may be more
			}
			r.add(&n)
			want[n.id] = n
			ids = append(ids, n.id)
			continue
		}
		id := overlay.NodeID(random.Uint64N(1<<18)) | overlay.UpperNodes
		if random.IntN(9) == 0 {
			id = 0 // which is of no node
		}
		if k := len(ids); k > 0 && random.IntN(4) > 0 {
			at := random.IntN(k)
			id = ids[at]
			ids[at] = ids[k-1]
			ids = ids[:k-1]
		}
		got, ok := r.take(id)
		if exp, has := want[id]; got != exp || ok != has {
			t.Fatalf("round %d: node %d is %+v, %v; want %+v, %v", round, id, got, ok, exp, has)
		}
		delete(want, id)
		if round%10_000 == 0 {
			r.aside()
		}
		if r.used != len(want) {
			t.Fatalf("round %d: %d nodes, want %d", round, r.used, len(want))
		}
	}
	for id, exp := range want {
		if got, ok := r.take(id); got != exp || !ok {
			t.Fatalf("at the end: node %d is %+v, %v; want %+v", id, got, ok, exp)
		}
	}
	if len(r.slots) > 0 || len(r.maps) > 0 {
		t.Errorf("%d slots and %d mappings are left of nothing", len(r.slots), len(r.maps))
	}
}
