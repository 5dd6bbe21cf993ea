package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/docker/go-units"

	"mica/container"
)

// containerStats prints what containers take, again and again unless once.
func (s *statsCommand) containers(ctx context.Context, names []string, all bool) error {
	f := containerFlags{images: s.imageFlags}
	before := map[string]container.Usage{}
	for first := true; ; first = false {
		list, err := f.chosen(ctx, names, all)
		if err != nil {
			return err
		}
		rows := []usageRow{}
		for _, c := range list {
			now, err := c.Usage()
			if err != nil {
				delete(before, c.Config.ID)
				rows = append(rows, usageRow{ID: c.Config.ID[:12], Name: c.Config.Name, CPUPerc: "--", MemUsage: "-- / --", MemPerc: "--", NetIO: "--", BlockIO: "--", PIDs: "--"})
				continue
			}
			rows = append(rows, usageRowOf(c, before[c.Config.ID], now))
			before[c.Config.ID] = now
		}
		if !first { // which had nothing to compare with
			if err := s.printUsage(rows); err != nil || !s.watch {
				return err
			}
		}
		select {
		case <-time.After(usageInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *statsCommand) printUsage(rows []usageRow) error {
	var text strings.Builder
	if isTerminal(s.std.out) && s.watch {
		text.WriteString(clearScreen)
	}
	err := printRows(&text, outputFormat{how: s.format}, usageHead, rows)
	if err == nil {
		_, err = io.WriteString(s.std.out, text.String())
	}
	return err
}

// chosen gives the containers named, or those that run.
func (f *containerFlags) chosen(ctx context.Context, names []string, all bool) (list []*container.Container, err error) {
	if len(names) == 0 {
		return f.all(ctx, all)
	}
	for _, name := range names {
		c, err := f.find(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// binarySize is a count of bytes as docker prints memory: "1.5MiB".
func binarySize(n int64) string {
	return units.CustomSize("%.4g%s", float64(n), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"})
}

// memTotal is the memory of this machine in bytes, 0 where it is not told.
func memTotal() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if n, err := fmt.Sscanf(lines.Text(), "MemTotal: %d kB", &kib); n == 1 && err == nil {
			return kib * 1024
		}
	}
	return 0
}
