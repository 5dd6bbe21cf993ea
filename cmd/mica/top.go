package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mica/container"
)

func newTop(std streams) *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "top [flags] CONTAINER [OPTION…]",
		Short: "List the processes of a container",
		Long: `Top prints what ps(1) of this machine has on the processes of CONTAINER; OPTIONs
are those of ps, -ef unless told otherwise.`,
		Example: `  mica top web
  mica top web -o pid,rss,args
  mica top web aux`,
		Annotations:       map[string]string{checksOperands: "yes"},
		ValidArgsFunction: f.completeOne(isRunning),
		Args:              atLeast(1, "CONTAINER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			options := args[1:]
			if len(options) == 0 {
				options = []string{"-ef"}
			}
			if err := top(cmd.Context(), std.out, c, options); err != nil {
				return &argError{args[0], err}
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false)
	f.add(cmd.Flags())
	return cmd
}

// top prints the lines of ps that are about a container.
func top(ctx context.Context, w io.Writer, c *container.Container, options []string) error {
	pids, err := c.Processes()
	if err != nil {
		return err
	}
	ps := exec.CommandContext(ctx, "ps", options...)
	out, err := ps.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(bytes.TrimSpace(exit.Stderr)) > 0 {
		return fmt.Errorf("ps %s: %s", strings.Join(options, " "), bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return fmt.Errorf("ps: %w", err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return fmt.Errorf("ps %s: prints no PID", strings.Join(options, " "))
	}
	for i, line := range lines {
		fields := strings.Fields(line)
		if i > 0 {
			pid, err := strconv.Atoi(append(fields, "")[min(column, len(fields))])
			if err != nil || !slices.Contains(pids, pid) {
				continue
			}
		}
		if _, err := fmt.Fprintln(w, printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// A usageRow is what a container takes, as "stats" prints it by docker's names.
type usageRow struct {
	ID, Name, CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string
}

func (r usageRow) cells() []string {
	return []string{r.ID, r.Name, r.CPUPerc, r.MemUsage, r.MemPerc, r.NetIO, r.BlockIO, r.PIDs}
}

var usageHead = []string{"CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"}

// usageRowOf compares what a container took with what it took before.
func usageRowOf(c *container.Container, before, now container.Usage) usageRow {
	r := usageRow{ID: c.Config.ID[:12], Name: c.Config.Name, NetIO: "--", BlockIO: size(now.Read) + " / " + size(now.Wrote), PIDs: strconv.FormatInt(now.Pids, 10)}
	limit := now.Limit
	if total := memTotal(); limit == 0 || total > 0 && limit > total {
		limit = total
	}
	r.MemUsage, r.MemPerc = binarySize(now.Memory)+" / "+binarySize(limit), "--"
	if limit > 0 {
		r.MemPerc = fmt.Sprintf("%.2f%%", float64(now.Memory)/float64(limit)*100)
	}
	r.CPUPerc = "--"
	if past := now.At.Sub(before.At); past > 0 {
		r.CPUPerc = fmt.Sprintf("%.2f%%", float64(now.CPU-before.CPU)/float64(past)*100)
	}
	return r
}

// usageInterval is over which time processor time is compared.
const usageInterval = time.Second
