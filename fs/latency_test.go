package fs

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l latency
	var all []time.Duration
	for range 10_000 {
		// From 1 µs to 1 s, as likely short as long.
		d := time.Duration(float64(time.Microsecond) * float64(uint64(1)<<r.IntN(20)) * (1 + r.Float64()))
		l.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	p50, p99 := l.percentiles()
	for _, p := range []struct {
		about     string
		got, want time.Duration
	}{{"p50", p50, all[len(all)/2]}, {"p99", p99, all[len(all)*99/100]}} {
		if diff := float64(p.got)/float64(p.want) - 1; diff < -.13 || diff > .13 {
			t.Errorf("%s = %v, want %v within an eighth", p.about, p.got, p.want)
		}
	}
}

func TestBuckets(t *testing.T) {
	for i := range buckets {
		if got := bucketOf(middle(i)); got != i {
			t.Errorf("bucketOf(%v) = %d, want %d", middle(i), got, i)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, time.Hour, 1<<63 - 1} {
		if b := bucketOf(d); b != 0 && b != buckets-1 {
			t.Errorf("bucketOf(%v) = %d, want an outermost one", d, b)
		}
	}
}
