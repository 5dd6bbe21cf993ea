package main

import (
	"fmt"
	"math"
)

// print gives a number in the way of its unit, with three digits.
func (u unit) print(n float64) string {
	switch u {
	case seconds:
		switch size := math.Abs(n); {
		case size < 1e-3:
			return digits(n*1e6) + " µs"
		case size < 1:
			return digits(n*1e3) + " ms"
		}
		return digits(n) + " s"
	case bytes:
		switch size := math.Abs(n); {
		case size < 1<<10:
			return digits(n) + " B"
		case size < 1<<20:
			return digits(n/(1<<10)) + " KiB"
		case size < 1<<30:
			return digits(n/(1<<20)) + " MiB"
		}
		return digits(n/(1<<30)) + " GiB"
	case percent:
		return fmt.Sprintf("%.2f %%", n)
	}
	return fmt.Sprintf("%.0f", n)
}

func digits(n float64) string {
	switch size := math.Abs(n); {
	case size >= 99.95 || n == 0:
		return fmt.Sprintf("%.0f", n)
	case size >= 9.995:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.2f", n)
}

// print gives a number that a bar is about.
func (b bar) print(n float64, u unit) string {
	switch b.of {
	case speedup:
		return digits(n) + "×"
	case share:
		return fmt.Sprintf("%.2f of its time", n)
	case excess:
		return fmt.Sprintf("%+.0f ms", n*1e3)
	}
	return u.print(n)
}

// String gives what must hold: "≥ 5×", "≤ 30 ms".
func (b bar) must(u unit) string {
	sign := "≤"
	if b.of == speedup {
		sign = "≥"
	}
	return sign + " " + b.print(b.limit, u)
}

// range prints a sample: its median, and the least and most.
func (s sample) print(u unit) string {
	return fmt.Sprintf("%s [%s – %s]", u.print(s.median()), u.print(s.low()), u.print(s.high()))
}
