package main

// A row is one thing that mica promises, measured on some images.
type row struct {
	name   string   // as ROWS= has it
	what   string   // what is measured, for people
	images []string // $IMAGE of its scripts, one comparison each; nil: one without
	runs   int      // how often, if not as often as all
	setup  string   // bash, once for each image
	sides  []side   // mica's first
	bars   []bar
	// compare makes the comparisons of a row that takes more than sides.
	compare func(l *lab, r *row) ([]comparison, error)
	note    string // what a reader of the figures has to know
}

// A side does the work of a row in one way. Its parts are lines of bash, with
// the variables of lab.env and the functions of prelude. Only run is timed; after runs if it fails, too.
type side struct {
	name               string
	before, run, after string
	// measure is what takes the place of run where that is no command; command
	// says in words what it does. It gives seconds.
	measure func(l *lab, image string) (float64, error)
	command string
}

// A unit is how numbers are printed; they are seconds, bytes, counts or percents.
type unit int

const (
	seconds unit = iota
	bytes
	count
	percent
)

// A comparison is what came of one row on one image.
type comparison struct {
	about   string // the image, or what else tells it from the row's others
	unit    unit
	samples []sample // mica's first
	bars    []bar
	detail  string // what else there is to know of the numbers, if anything
}

// A bar is what a comparison must hold, and what it should.
type bar struct {
	of         measure
	limit, aim float64
	against    string // the one side that is meant; else all but mica's
}

// A measure makes one number of the samples.
type measure int

const (
	speedup measure = iota // another's time by mica's: more is better
	share                  // mica's by another's: less is better
	value                  // mica's own: less is better
	excess                 // mica's without another's: less is better
)

// figure gives the number that a bar is about; of several others it is the one
// that is worst for mica. Ratios are the median of those of each round.
func (b bar) figure(c *comparison) float64 {
	mica := c.samples[0]
	if b.of == value {
		return mica.median()
	}
	worst, first := 0.0, true
	for _, other := range c.samples[1:] {
		if b.against != "" && b.against != other.name {
			continue
		}
		f := 0.0
		switch b.of {
		case speedup:
			f = other.by(mica)
		case share:
			f = mica.by(other)
		case excess:
			f = mica.median() - other.median()
		}
		if first || b.better(worst, f) {
			worst, first = f, false
		}
	}
	return worst
}

// better reports that a is better than b.
func (b bar) better(a, than float64) bool {
	if b.of == speedup {
		return a > than
	}
	return a < than
}

// holds reports that a figure is no worse than limit, or aim.
func (b bar) holds(figure, limit float64) bool { return !b.better(limit, figure) }

// missed gives the bars of a comparison that are missed.
func (c *comparison) missed() (missed []bar) {
	for _, b := range c.bars {
		if !b.holds(b.figure(c), b.limit) {
			missed = append(missed, b)
		}
	}
	return missed
}
