package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are the flags.
type options struct {
	program, images, tmp, out, note string
	runs                            int
	most                            time.Duration
	rows                            []string // all, if there are none
}

func main() {
	var o options
	flag.StringVar(&o.program, "mica", "bin/mica", "the program to measure")
	flag.StringVar(&o.images, "images", "", "directory of images, as images.sh makes them")
	flag.StringVar(&o.tmp, "tmp", "/var/tmp", "where to make the scratch directory, 30 GB of a disk")
	flag.StringVar(&o.out, "out", "", "file to write the report to (default standard output)")
	flag.StringVar(&o.note, "note", "", "what to tell of the machine in the report")
	flag.IntVar(&o.runs, "runs", 5, "how often to measure each side, at least")
	flag.DurationVar(&o.most, "most", 0, "when to begin no other round of a comparison, on a machine that is busy (default never)")
	flag.Parse()
	o.rows = flag.Args()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and writes the report, of what could be measured.
func run(o options) (err error) {
	chosen, err := choose(o.rows)
	if err != nil {
		return err
	}
	program, err := filepath.Abs(o.program)
	if err != nil {
		return err
	}
	images, err := filepath.Abs(o.images)
	if err != nil {
		return err
	}
	l, err := newLab(o.tmp, program, images, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	// Between two runs, so that nothing is left mounted.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	l.ctx, l.runs, l.most = ctx, o.runs, o.most
	rep := &report{note: o.note, started: time.Now(), runs: o.runs, most: o.most}
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		r := &chosen[i]
		comparisons, rowErr := l.measure(r)
		if rowErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", r.name, rowErr))
		}
		rep.add(r, comparisons, rowErr)
		rep.facts = l.facts()
		// After each row: who interrupts has what was measured.
		if o.out != "" {
			err = errors.Join(err, os.WriteFile(o.out, []byte(rep.markdown()), 0o644))
		}
	}
	if o.out == "" {
		_, outErr := os.Stdout.WriteString(rep.markdown())
		err = errors.Join(err, outErr)
	}
	return err
}

// choose gives the rows of these names, or all.
func choose(names []string) (chosen []row, err error) {
	all := rows()
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			var known []string
			for _, r := range all {
				known = append(known, r.name)
			}
			return nil, fmt.Errorf("no row %q (there are: %s)", name, strings.Join(known, " "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
