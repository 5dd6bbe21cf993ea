package diff

import "math"

// An edit says that items [from0, from1) of one list stand where the other has
// its items [to0, to1).
type edit struct{ from0, from1, to0, to1 int }

// edits gives what must be done to a for it to become b: rising, with at least
// one common item between any two. It is the least that can be done, unless
// that would take too long to find.
//
// The algorithm is that of Myers, "An O(ND) Difference Algorithm and Its
// Variations" (1986), section 4b: from both ends at once until the two meet,
// then the same on both sides of that point.
func edits(a, b []int) []edit {
	return editsWithin(a, b, max(256, int(math.Sqrt(float64(len(a)+len(b))))))
}

// editsWithin is edits with at most so many steps from each end to find where
// the two meet.
func editsWithin(a, b []int, limit int) []edit {
	d := &differ{a: a, b: b, gone: make([]bool, len(a)), new: make([]bool, len(b))}
	diagonals := len(a) + len(b) + 3
	d.forward, d.backward = make([]int, diagonals), make([]int, diagonals)
	d.zero = len(b) + 1
	d.limit = limit
	d.compare(box{0, len(a), 0, len(b)})
	return d.edits()
}

// A differ marks the items of a that are gone, and those of b that are new.
type differ struct {
	a, b      []int
	gone, new []bool

	// How far a path has come on each diagonal (x-y): x, from the one end and
	// from the other. Index zero is diagonal 0.
	forward, backward []int
	zero              int
	limit             int // steps after which the best so far will do
}

// A box is a part of both lists.
type box struct{ x0, x1, y0, y1 int }

func (d *differ) compare(r box) {
	for {
		for r.x0 < r.x1 && r.y0 < r.y1 && d.a[r.x0] == d.b[r.y0] {
			r.x0, r.y0 = r.x0+1, r.y0+1
		}
		for r.x0 < r.x1 && r.y0 < r.y1 && d.a[r.x1-1] == d.b[r.y1-1] {
			r.x1, r.y1 = r.x1-1, r.y1-1
		}
		if r.x0 == r.x1 || r.y0 == r.y1 {
			break
		}
		x, y := d.meet(r)
		d.compare(box{r.x0, x, r.y0, y})
		r.x0, r.y0 = x, y
	}
	for x := r.x0; x < r.x1; x++ {
		d.gone[x] = true
	}
	for y := r.y0; y < r.y1; y++ {
		d.new[y] = true
	}
}

// meet gives a point on a shortest path through a box, the first items of
// which differ, and the last.
func (d *differ) meet(r box) (x, y int) {
	f, b := d.forward, d.backward
	low, high := r.x0-r.y1+d.zero, r.x1-r.y0+d.zero // the diagonals there are
	fmid, bmid := r.x0-r.y0+d.zero, r.x1-r.y1+d.zero
	fmin, fmax, bmin, bmax := fmid, fmid, bmid, bmid
	f[fmid], b[bmid] = r.x0, r.x1
	odd := (fmid-bmid)&1 != 0
	for step := 1; ; step++ {
		fmin, fmax = widen(f, fmin, fmax, low, high, -1)
		for k := fmax; k >= fmin; k -= 2 {
			x := max(f[k-1]+1, f[k+1])
			for y := x - (k - d.zero); x < r.x1 && y < r.y1 && d.a[x] == d.b[y]; y++ {
				x++
			}
			f[k] = x
			if odd && bmin <= k && k <= bmax && b[k] <= x {
				return x, x - (k - d.zero)
			}
		}
		bmin, bmax = widen(b, bmin, bmax, low, high, math.MaxInt)
		for k := bmax; k >= bmin; k -= 2 {
			x := min(b[k-1], b[k+1]-1)
			for y := x - (k - d.zero); x > r.x0 && y > r.y0 && d.a[x-1] == d.b[y-1]; y-- {
				x--
			}
			b[k] = x
			if !odd && fmin <= k && k <= fmax && x <= f[k] {
				return x, x - (k - d.zero)
			}
		}
		if step >= d.limit {
			return d.farthest(r, fmin, fmax)
		}
	}
}

// widen adds a diagonal at each end of those that paths have come to, as far
// as there are any; none is what a path on it has reached so far.
func widen(reached []int, first, last, low, high, none int) (int, int) {
	if first > low {
		first--
		reached[first-1] = none
	} else {
		first++
	}
	if last < high {
		last++
		reached[last+1] = none
	} else {
		last--
	}
	return first, last
}

// farthest gives the point that is farthest on the way from the beginning.
func (d *differ) farthest(r box, fmin, fmax int) (bestX, bestY int) {
	bestX, bestY = r.x0, r.y0
	for k := fmin; k <= fmax; k += 2 {
		x := min(d.forward[k], r.x1)
		y := x - (k - d.zero)
		if y > r.y1 {
			x, y = r.y1+k-d.zero, r.y1
		}
		if x+y > bestX+bestY {
			bestX, bestY = x, y
		}
	}
	return bestX, bestY
}

// edits makes runs of the marks.
func (d *differ) edits() (all []edit) {
	x, y := 0, 0
	for x < len(d.a) || y < len(d.b) {
		e := edit{from0: x, to0: y}
		for x < len(d.a) && d.gone[x] {
			x++
		}
		for y < len(d.b) && d.new[y] {
			y++
		}
		if e.from1, e.to1 = x, y; e.from0 < x || e.to0 < y {
			all = append(all, e)
		}
		// What is neither gone nor new stands in both.
		for x < len(d.a) && y < len(d.b) && !d.gone[x] && !d.new[y] {
			x, y = x+1, y+1
		}
	}
	return all
}
