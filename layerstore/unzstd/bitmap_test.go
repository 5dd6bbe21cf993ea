package unzstd

import (
	"math/rand/v2"
	"testing"
)

// TestBitmap holds a bitmap against a slice of bools.
func TestBitmap(t *testing.T) {
	const size = 300
	rng := rand.New(rand.NewPCG(1, 1))
	b := make(bitmap, size/64+1)
	var model [size]bool
	for range 20_000 {
		from := rng.IntN(size)
		to := from + 1 + rng.IntN(size-from)
		value := rng.IntN(3) > 0
		if value {
			to = min(to, from+40)
			b.set(from, to)
		} else {
			b.clear(from, to)
		}
		for i := from; i < to; i++ {
			model[i] = value
		}
		from = rng.IntN(size)
		to = from + 1 + rng.IntN(size-from)
		start := from
		for start < to && !model[start] {
			start++
		}
		end := start
		for end < to && model[end] {
			end++
		}
		if gotStart, gotEnd := b.run(from, to); gotStart != start || gotEnd != end {
			t.Fatalf("run(%d, %d) = %d, %d; want %d, %d", from, to, gotStart, gotEnd, start, end)
		}
		if got, want := b.all(from, to), start == from && end == to; got != want {
			t.Fatalf("all(%d, %d) = %v, want %v", from, to, got, want)
		}
	}
}
