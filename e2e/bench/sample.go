package main

import (
	"cmp"
	"slices"
)

// A sample is what one side took, a number a run, in the order of the runs.
type sample struct {
	name string
	runs []float64
}

func (s sample) median() float64 { return median(s.runs) }
func (s sample) low() float64    { return slices.Min(s.runs) }
func (s sample) high() float64   { return slices.Max(s.runs) }

// by gives the median of s's runs each divided by that of the same round of o.
func (s sample) by(o sample) float64 {
	ratios := make([]float64, min(len(s.runs), len(o.runs)))
	for i := range ratios {
		ratios[i] = s.runs[i] / o.runs[i]
	}
	return median(ratios)
}

// median gives the middle of numbers of which there is one at least, of an even
// count that of the two in the middle.
func median(numbers []float64) float64 { return percentile(numbers, 50) }

// percentile gives the number below which p of a hundred are, between two of
// them if it falls there.
func percentile(numbers []float64, p float64) float64 {
	sorted := slices.SortedFunc(slices.Values(numbers), cmp.Compare[float64])
	at := p / 100 * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
