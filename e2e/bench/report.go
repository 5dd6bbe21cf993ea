package main

import (
	"fmt"
	"strings"
	"time"
)

// A report is the document that comes of the rows.
type report struct {
	note    string // of who measures, on the machine
	started time.Time
	runs    int
	most    time.Duration
	facts   []fact
	rows    []rowReport
}

type rowReport struct {
	*row
	comparisons []comparison
	err         error // why some or all are missing
}

// A fact is something about the machine or a program on it.
type fact struct{ about, is string }

func (rep *report) add(r *row, comparisons []comparison, err error) {
	rep.rows = append(rep.rows, rowReport{r, comparisons, err})
}

// markdown gives the whole document.
func (rep *report) markdown() string {
	var w strings.Builder
	unless := ""
	if rep.most > 0 {
		unless = fmt.Sprintf(", but where that takes more than %v", rep.most)
	}
	fmt.Fprintf(&w, `# Benchmarks

Written by `+"`make bench`"+` (e2e/bench), which runs mica and the tool named beside it in turns, at least %d times each%s.
A figure is a median; a ratio is the median of the ratios of the rounds. The smallest and the largest of all runs
stand in brackets: where they are far apart, the machine had others to serve, and only the ratios mean much.

`, rep.runs, unless)
	rep.machine(&w)
	rep.summary(&w)
	rep.losses(&w)
	for _, r := range rep.rows {
		r.details(&w)
	}
	w.WriteString("## What the commands are run with\n`$IMAGES` is what e2e/bench/images.sh made, `$DIR` scratch, `$M` where mica mounts; output goes to /dev/null.\n\n```bash\n" + prelude + "```\n")
	return w.String()
}

func (rep *report) machine(w *strings.Builder) {
	fmt.Fprintf(w, "## Machine\n| | |\n|---|---|\n| measured | %s, in %s |\n",
		rep.started.UTC().Format("2006-01-02 15:04 UTC"), time.Since(rep.started).Round(time.Minute))
	for _, f := range rep.facts {
		fmt.Fprintf(w, "| %s | %s |\n", f.about, f.is)
	}
	if rep.note != "" {
		fmt.Fprintf(w, "| note | %s |\n", rep.note)
	}
	w.WriteString("\n")
}

// summary is one table of all bars.
func (rep *report) summary(w *strings.Builder) {
	w.WriteString("## All rows\n`make bench ROWS=name` measures one. *must*, *aim*: what was promised, and hoped for.\n\n")
	w.WriteString("| row | what | on | mica | others | figure | must | aim | |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rep.rows {
		for j, c := range r.comparisons {
			for i, b := range c.bars {
				name, what, mica, others := "", "", "", ""
				if i == 0 {
					mica, others = c.unit.print(c.samples[0].median()), c.others()
				}
				if i == 0 && j == 0 {
					name, what = r.name, r.what
				}
				f := b.figure(&c)
				verdict := "held"
				if !b.holds(f, b.limit) {
					verdict = "**missed**"
				} else if b.aim != 0 && b.holds(f, b.aim) {
					verdict = "aim"
				}
				figure := b.print(f, c.unit)
				if b.against != "" {
					figure += " " + b.against
				}
				fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", name, what, c.about, mica, others, figure, b.must(c.unit), b.hoped(c.unit), verdict)
			}
		}
		if r.err != nil {
			fmt.Fprintf(w, "| %s | %s | | | | not measured: see below | | | |\n", r.name, r.what)
		}
	}
	w.WriteString("\n")
}

// others gives the medians of all but mica.
func (c *comparison) others() string {
	var all []string
	for _, s := range c.samples[1:] {
		all = append(all, s.name+" "+c.unit.print(s.median()))
	}
	return strings.Join(all, ", ")
}

// hoped is what a bar's aim is, if it has one.
func (b bar) hoped(u unit) string {
	if b.aim == 0 {
		return ""
	}
	return b.print(b.aim, u)
}

// losses tells where mica misses a bar, or another is quicker.
func (rep *report) losses(w *strings.Builder) {
	w.WriteString("## Where mica loses\n")
	none := true
	for _, r := range rep.rows {
		for _, c := range r.comparisons {
			for _, lost := range c.losses() {
				none = false
				fmt.Fprintf(w, "- %s, %s: %s\n", r.name, c.about, lost)
			}
		}
		if r.note != "" && r.lost() {
			fmt.Fprintf(w, "  %s\n", r.note)
		}
	}
	if none {
		w.WriteString("Nowhere, in these rows.\n")
	}
	w.WriteString("\n")
}

func (r rowReport) lost() bool {
	for _, c := range r.comparisons {
		if len(c.losses()) > 0 {
			return true
		}
	}
	return false
}

// losses are the bars that are missed, and the sides that are quicker.
func (c *comparison) losses() (lost []string) {
	for _, b := range c.missed() {
		lost = append(lost, fmt.Sprintf("%s, must be %s", b.print(b.figure(c), c.unit), b.must(c.unit)))
	}
	for _, s := range c.samples[1:] {
		if ratio := c.samples[0].by(s); ratio > 1 {
			lost = append(lost, fmt.Sprintf("%.2f times what %s takes", ratio, s.name))
		}
	}
	return lost
}

// details are the commands and the spread of a row.
func (r rowReport) details(w *strings.Builder) {
	fmt.Fprintf(w, "## %s\n%s%s.\n", r.name, strings.ToUpper(r.what[:1]), r.what[1:])
	if r.note != "" {
		fmt.Fprintf(w, "%s\n", r.note)
	}
	w.WriteString("\n```bash\n")
	for _, s := range r.sides {
		fmt.Fprintf(w, "# %s\n", s.name)
		for _, line := range []string{s.before, s.run + s.command, s.after} {
			if line == "" {
				continue
			}
			if line == s.run+s.command {
				line = "time { " + line + "; }"
			}
			w.WriteString(line + "\n")
		}
	}
	w.WriteString("```\n\n| on | side | median [least – most] | runs |\n|---|---|---|---|\n")
	for _, c := range r.comparisons {
		for _, s := range c.samples {
			fmt.Fprintf(w, "| %s | %s | %s | %d |\n", c.about, s.name, s.print(c.unit), len(s.runs))
		}
	}
	for _, c := range r.comparisons {
		if c.detail != "" {
			fmt.Fprintf(w, "\n%s: %s\n", c.about, c.detail)
		}
	}
	if r.err != nil {
		fmt.Fprintf(w, "\nNot measured in full: %s\n", strings.TrimSpace(r.err.Error()))
	}
	w.WriteString("\n")
}
