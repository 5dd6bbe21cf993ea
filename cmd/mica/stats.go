package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mica/fs"
)

func newStats(std streams) *cobra.Command {
	s := &statsCommand{std: std}
	cmd := &cobra.Command{
		Use:   "stats [flags] [DIR|CONTAINER…]",
		Short: "Tell what the server of a mount has done, or what containers take",
		Long: `Stats of containers, of all that run unless some are named, tells what each takes:
processors, memory, devices, processes.

Stats of a mount tells what was asked of the server of the mount at DIR since it started,
how long it took to answer, what was read and decoded for that, and what memory
it takes. What the kernel has in its caches it answers by itself, and is not
counted: a second ls -lR should ask for nothing.

With --trace it writes to FILE, - being standard output, a line of JSON for each
file whose contents are asked for, as that happens for the first time: path,
time and size. It ends when interrupted.`,
		Example: `  mica stats m
  mica stats --watch m
  mica stats --watch web db                # containers
  mica stats --trace - m | jq -r .path     # what does the program that I start now read?`,
		ValidArgsFunction: s.completeMounted,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || s.isContainer(cmd.Context(), args[0]) {
				return s.containers(cmd.Context(), args, s.all)
			}
			return s.run(cmd.Context(), args[0])
		},
	}
	s.addRoot(cmd.Flags())
	addChoice(cmd.Flags(), &s.format, "format", "what to print", "table", "json")
	cmd.Flags().BoolVarP(&s.watch, "watch", "w", false, "print again each second")
	cmd.Flags().BoolVarP(&s.all, "all", "a", false, "containers that do not run, too")
	cmd.Flags().Bool("no-stream", true, "accepted for docker's sake: once is what is told unless --watch")
	cmd.Flags().StringVar(&s.trace, "trace", "", "tell in `FILE` which files are read from now on")
	return cmd
}

type statsCommand struct {
	imageFlags
	std    streams
	format choice
	watch  bool
	all    bool
	trace  string
}

// isContainer reports whether a word names a container and no directory.
func (s *statsCommand) isContainer(ctx context.Context, word string) bool {
	if _, err := os.Lstat(word); err == nil {
		return false
	}
	f := containerFlags{images: s.imageFlags}
	c, err := f.maybe(ctx, word, false)
	return err == nil && c != nil
}

func (s *statsCommand) run(ctx context.Context, dir string) (err error) {
	if s.trace != "" && (s.watch || s.format.word == "json") {
		return &usageError{err: errors.New("--trace goes without --watch and --format")}
	}
	mounts, err := s.mounts()
	if err != nil {
		return err
	}
	m, _, err := mountedAt(dir, mounts)
	switch {
	case err != nil:
	case s.trace != "":
		err = s.follow(ctx, m)
	case s.watch:
		err = s.repeat(ctx, m)
	default:
		err = s.once(m)
	}
	if err != nil {
		return &argError{dir, err}
	}
	return nil
}

func (s *statsCommand) once(m fs.Info) error {
	st, err := fs.ReadStats(m)
	if err != nil {
		return err
	}
	return s.print(s.std.out, st)
}

func (s *statsCommand) print(w io.Writer, st *fs.Stats) error {
	if s.format.word == "json" {
		return printJSON(w, st)
	}
	return printStats(w, st)
}

// clearScreen has a terminal forget what is on it and begin at its top.
const clearScreen = "\x1b[H\x1b[2J"

// repeat prints each second, until it is interrupted or the mount is gone. A
// server that is followed by another is waited for.
func (s *statsCommand) repeat(ctx context.Context, m fs.Info) error {
	failed := 0
	for tick := time.NewTicker(time.Second); ; {
		st, err := fs.ReadStats(m)
		if failed++; err == nil {
			failed = 0
			var text strings.Builder
			if isTerminal(s.std.out) && s.format.word != "json" {
				text.WriteString(clearScreen)
			}
			if err := s.print(&text, st); err != nil {
				return err
			}
			if _, err := io.WriteString(s.std.out, text.String()); err != nil {
				return err
			}
		} else if failed > 3 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// follow writes what is touched.
func (s *statsCommand) follow(ctx context.Context, m fs.Info) (err error) {
	out := s.std.out
	if s.trace != "-" {
		f, err := os.Create(s.trace)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return fs.Trace(m, ctx.Done(), func(t fs.Touched) error { return enc.Encode(t) })
}

// printStats prints for people.
func printStats(w io.Writer, st *fs.Stats) error {
	rows := [][]string{
		{"Image:", st.Source},
		{"Server:", fmt.Sprintf("pid %d, started %s", st.PID, ago(st.Started))},
		{"Memory:", memoryText(st.Memory)},
		{"Files read:", size(int64(st.Read))},
		{"Blobs read:", size(int64(st.Cache.Stored))},
		{"Decoded:", fmt.Sprintf("%s in %s", size(int64(st.Cache.Decoded)), plural(int(st.Cache.Spans), "span"))},
		{"Span cache:", fmt.Sprintf("%s of %s, %s", size(st.Cache.Used), size(st.Cache.Max), hitRate(st))},
	}
	if st.Pushed > 0 {
		rows = append(rows, []string{"Pushed:", plural(int(st.Pushed), "file") + " before they were asked for"})
	}
	if st.Waiting > 0 {
		rows = append(rows, []string{"Waiting:", plural(st.Waiting, "read")})
	}
	if err := printTable(w, rows); err != nil || len(st.Requests) == 0 {
		return err
	}
	fmt.Fprintln(w)
	rows = [][]string{{"REQUEST", "COUNT", "P50", "P99"}}
	for _, r := range st.Requests {
		rows = append(rows, []string{r.Kind, fmt.Sprint(r.Count), brief(r.P50), brief(r.P99)})
	}
	return printTable(w, rows)
}

// memoryText tells what a server, or several, take.
func memoryText(m fs.MemoryStats) string {
	return fmt.Sprintf("heap %s, cache %s, mapped files %s", size(m.Heap), size(m.Cache), size(m.Mapped))
}

// hitRate tells how many of the spans that were asked for were there.
func hitRate(st *fs.Stats) string {
	asked := st.Cache.Hits + st.Cache.Misses
	if asked == 0 {
		return "not asked yet"
	}
	return fmt.Sprintf("%.1f%% of %d hit", 100*float64(st.Cache.Hits)/float64(asked), asked)
}

// brief gives a duration in two digits or three.
func brief(d time.Duration) string {
	switch {
	case d < 100*time.Microsecond:
		return d.Round(100 * time.Nanosecond).String()
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
