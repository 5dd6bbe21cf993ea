package main

import "testing"

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		numbers []float64
		p, want float64
	}{
		{[]float64{3}, 50, 3},
		{[]float64{9, 1, 5}, 50, 5},
		{[]float64{1, 9, 5, 3}, 50, 4},
		{[]float64{2, 1, 3}, 100, 3},
		{[]float64{2, 1, 3}, 0, 1},
	} {
		if got := percentile(tt.numbers, tt.p); got != tt.want {
			t.Errorf("percentile(%v, %v) = %v, want %v", tt.numbers, tt.p, got, tt.want)
		}
	}
}

// TestBars: what is compared with a bar is the worst for mica, and a ratio is
// taken round by round.
func TestBars(t *testing.T) {
	// In the second round the machine was at half its speed for both.
	c := &comparison{samples: []sample{
		{"mica", []float64{1, 2, 1}}, {"slow", []float64{10, 20, 10}}, {"quick", []float64{4, 8, 4}},
	}}
	for _, tt := range []struct {
		about string
		bar   bar
		want  float64
		holds bool
	}{
		{"the quicker of two", bar{of: speedup, limit: 5}, 4, false},
		{"the one that is named", bar{of: speedup, limit: 10, against: "slow"}, 10, true},
		{"a share", bar{of: share, limit: .2, against: "quick"}, .25, false},
		{"the larger share", bar{of: share, limit: .25}, .25, true},
		{"mica's own", bar{of: value, limit: 1}, 1, true},
		{"more than another", bar{of: excess, limit: -4}, -3, false},
	} {
		if got := tt.bar.figure(c); got != tt.want || tt.bar.holds(got, tt.bar.limit) != tt.holds {
			t.Errorf("%s: %v, holds %v; want %v, %v", tt.about, got, !tt.holds, tt.want, tt.holds)
		}
	}
}
