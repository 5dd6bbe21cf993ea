package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newMounts(std streams) *cobra.Command {
	var flags imageFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "mounts [flags]",
		Short: "List what is mounted",
		Long: `Mounts lists the mounts of mica that can be seen from here, other users' among
them. STATE is serving; restarting where the server died and another one takes
over; unheld where none would, as with mount --foreground or where the holder, its
other process, was killed; dead where all are: mica umount or mica mount at the
same directory clear that.`,
		Example: `  mica mounts
  mica mounts --format json | jq -r '.[].dir'
  mica mounts --noheading | wc -l`,
		RunE: func(*cobra.Command, []string) error {
			mounts, err := flags.mounts()
			if err != nil {
				return err
			}
			rows := make([]mountRow, len(mounts))
			for i, m := range mounts {
				rows[i] = mountRow{Image: m.Source, Dir: m.Dir, PID: m.PID, Holder: m.Holder, Options: strings.Split(m.Options, ","), State: "serving", terminal: isTerminal(std.out)}
				switch {
				case m.Dead:
					rows[i].State = "dead"
				case m.Restarting:
					rows[i].State = "restarting"
				case m.Unheld:
					rows[i].State = "unheld"
				}
				if !m.Since.IsZero() {
					rows[i].Since = &m.Since
				}
			}
			return printRows(std.out, format, []string{"IMAGE", "DIR", "PID", "SINCE", "STATE"}, rows)
		},
	}
	flags.addRoot(cmd.Flags())
	format.add(cmd.Flags())
	return cmd
}

// A mountRow is a mount as "mounts" prints it.
type mountRow struct {
	Image   string     `json:"image"`
	Dir     string     `json:"dir"`
	PID     int        `json:"pid,omitempty"`    // of the server; 0 is not known
	Holder  int        `json:"holder,omitempty"` // the process that starts another; 0 if none does
	Since   *time.Time `json:"since,omitempty"`
	State   string     `json:"state"` // "serving", "restarting", "unheld" or "dead"
	Options []string   `json:"options"`

	terminal bool
}

func (r mountRow) cells() []string {
	pid, since := "-", "-"
	if r.PID != 0 {
		pid = fmt.Sprint(r.PID)
	}
	if r.Since != nil {
		since = ago(*r.Since)
	}
	image := r.Image
	if name, digest, ok := strings.Cut(image, "@"); ok && r.terminal {
		image = name + "@" + shortDigest(digest)
	}
	return []string{image, r.Dir, pid, since, r.State}
}
