package fs

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A latency counts how long requests of one kind took: in buckets that are a
// quarter of a power of two wide, so that what is read of them is right within
// a tenth. Adding is one atomic increment.
type latency struct {
	buckets [buckets]atomic.Uint64
}

const (
	// Of a duration in nanoseconds the highest bit and the two after it are its
	// bucket; what is below 2^shortest or above 2^longest is in the outermost.
	shortest, longest = 10, 38 // 1 µs, 4.6 min
	buckets           = (longest - shortest) * 4
)

func (l *latency) add(d time.Duration) { l.buckets[bucketOf(d)].Add(1) }

func bucketOf(d time.Duration) int {
	ns := uint64(max(d, 1<<shortest))
	high := bits.Len64(ns) - 1
	if high >= longest {
		return buckets - 1
	}
	return (high-shortest)*4 + int(ns>>(high-2)&3)
}

// middle is a duration of a bucket: what is as far from one end as from the other.
func middle(bucket int) time.Duration {
	high := shortest + bucket/4
	return time.Duration(1<<high + (2*int64(bucket%4)+1)<<(high-3))
}

// percentiles gives the durations that half of all and 99 of a hundred were not
// longer than; 0 if there was none.
func (l *latency) percentiles() (p50, p99 time.Duration) {
	var counts [buckets]uint64
	n := uint64(0)
	for i := range counts {
		counts[i] = l.buckets[i].Load()
		n += counts[i]
	}
	at := func(rank uint64) time.Duration {
		for i, c := range counts {
			if rank < c {
				return middle(i)
			}
			rank -= c
		}
		return 0
	}
	return at(n / 2), at(n * 99 / 100)
}
