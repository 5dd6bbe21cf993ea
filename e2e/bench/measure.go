package main

import (
	"fmt"
	"strings"
	"time"
)

// measure makes the comparisons of a row.
func (l *lab) measure(r *row) ([]comparison, error) {
	if r.compare != nil {
		return r.compare(l, r)
	}
	images := r.images
	if images == nil {
		images = []string{""}
	}
	var all []comparison
	for _, image := range images {
		if err := l.prepare(r, image); err != nil {
			return all, err
		}
		samples, err := l.alternate(r, image, r.sides)
		if err != nil {
			return all, fmt.Errorf("%s: %w", image, err)
		}
		all = append(all, comparison{about: image, samples: samples, bars: r.bars})
	}
	return all, nil
}

// prepare makes what a row needs of an image.
func (l *lab) prepare(r *row, image string) error {
	if err := l.makeUp(image); err != nil {
		return err
	}
	_, err := l.bash(image, r.setup+"\n")
	return err
}

// alternate has the sides take turns, another one first in each round.
func (l *lab) alternate(r *row, image string, sides []side) ([]sample, error) {
	samples := make([]sample, len(sides))
	for i, s := range sides {
		samples[i].name = s.name
	}
	start := time.Now()
	for round := range l.rounds(r) {
		if round > 0 && l.most > 0 && time.Since(start) > l.most {
			break
		}
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		for i := range sides {
			i = (i + round) % len(sides)
			took, err := l.run(sides[i], image)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sides[i].name, err)
			}
			samples[i].runs = append(samples[i].runs, took)
		}
		l.progress(r, image, samples)
	}
	return samples, nil
}

func (l *lab) rounds(r *row) int { return max(l.runs, r.runs) }

// progress tells the last number of each side.
func (l *lab) progress(r *row, image string, samples []sample) {
	var line strings.Builder
	fmt.Fprintf(&line, "%s %s:", r.name, image)
	for _, s := range samples {
		fmt.Fprintf(&line, "  %s %s", s.name, seconds.print(s.runs[len(s.runs)-1]))
	}
	fmt.Fprintln(l.log, line.String())
}
