package diff

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// apply does edits to a.
func apply(a, b []int, all []edit) []int {
	var got []int
	at := 0
	for _, e := range all {
		got = append(got, a[at:e.from0]...)
		got = append(got, b[e.to0:e.to1]...)
		at = e.from1
	}
	return append(got, a[at:]...)
}

// cost is how many items are taken away or added.
func cost(all []edit) (n int) {
	for _, e := range all {
		n += e.from1 - e.from0 + e.to1 - e.to0
	}
	return n
}

// leastCost is the same by way of the longest common subsequence, from the
// textbook.
func leastCost(a, b []int) int {
	row := make([]int, len(b)+1)
	for i := range a {
		diagonal := 0
		for j := range b {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return len(a) + len(b) - 2*row[len(b)]
}

func TestEditsAreTheLeast(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		random := func() []int {
			list := make([]int, r.IntN(30))
			kinds := 1 + r.IntN(8)
			for i := range list {
				list[i] = r.IntN(kinds)
			}
			return list
		}
		a, b := random(), random()
		all := edits(a, b)
		if got := apply(a, b, all); !slices.Equal(got, b) {
			t.Fatalf("seed %d: edits(%v, %v) = %v, which gives %v", seed, a, b, all, got)
		}
		if got, want := cost(all), leastCost(a, b); got != want {
			t.Fatalf("seed %d: edits(%v, %v) = %v: cost %d, want %d", seed, a, b, all, got, want)
		}
		for i := 1; i < len(all); i++ {
			if all[i].from0 <= all[i-1].from1 || all[i].to0 <= all[i-1].to1 {
				t.Fatalf("seed %d: edits(%v, %v) = %v: two touch", seed, a, b, all)
			}
		}
	}
}

// Lists that have nothing in common, or little of much, would take the square
// of their length: they must be right still, and soon done.
func TestEditsOfWhatIsCostly(t *testing.T) {
	const n = 40_000
	r := rand.New(rand.NewPCG(1, 2))
	a, b := make([]int, n), make([]int, n)
	for i := range n {
		a[i], b[i] = r.IntN(n), r.IntN(n)
	}
	if got := apply(a, b, edits(a, b)); !slices.Equal(got, b) {
		t.Error("the edits of two long random lists do not lead from one to the other")
	}
}

func FuzzEdits(f *testing.F) {
	f.Add([]byte("abcabba"), []byte("cbabac"), uint8(3))
	f.Add([]byte("aaaa"), []byte(""), uint8(0))
	f.Fuzz(func(t *testing.T, x, y []byte, limit uint8) {
		if len(x) > 4096 || len(y) > 4096 {
			return
		}
		a, b := make([]int, len(x)), make([]int, len(y))
		for i := range x {
			a[i] = int(x[i])
		}
		for i := range y {
			b[i] = int(y[i])
		}
		if got := apply(a, b, editsWithin(a, b, 1+int(limit))); !slices.Equal(got, b) {
			t.Errorf("editsWithin(%v, %v, %d) lead to %v", a, b, 1+int(limit), got)
		}
	})
}
