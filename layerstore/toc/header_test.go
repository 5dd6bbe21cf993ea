package toc

import (
	"math/rand/v2"
	"testing"
)

// sum is the fast twin of adding up bytes one at a time.
func TestBlockSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		var b block
		for j := range b {
			switch i {
			case 0: // zeros
			case 1:
				b[j] = 0xff // the largest sum
			default:
				b[j] = byte(rng.Uint32())
			}
		}
		want := int64(0)
		for _, c := range b {
			want += int64(c)
		}
		if got := b.sum(); got != want {
			t.Fatalf("seed 1, 2, block %d: sum = %d, want %d", i, got, want)
		}
	}
}
