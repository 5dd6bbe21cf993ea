package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"mica/container"
)

func newPs(std streams) *cobra.Command {
	l := &containerLister{std: std}
	cmd := &cobra.Command{
		Use:   "ps [flags]",
		Short: "List containers",
		Long: `Ps lists the containers that run, in docker's columns, or all with --all. What is
shown is compared with the processes that are there: one whose processes were
killed, or did not outlive the machine, is shown as ended.`,
		Example: `  mica ps
  mica ps -a --filter status=exited --format '{{.Names}}\t{{.Status}}'
  mica ps --format json | jq -r '.[].Names'`,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd) },
	}
	l.add(cmd.Flags())
	flags := cmd.Flags()
	flags.BoolVarP(&l.all, "all", "a", false, "list those that do not run, too")
	flags.BoolVarP(&l.quiet, "quiet", "q", false, "print IDs alone")
	flags.BoolVar(&l.whole, "no-trunc", false, "do not cut IDs and commands")
	flags.BoolVarP(&l.size, "size", "s", false, "show how much each has written")
	flags.BoolVarP(&l.latest, "latest", "l", false, "list the newest alone")
	flags.IntVar(&l.last, "last", 0, "list the `NUMBER` newest, whether they run or not")
	flags.BoolVarP(&l.noHeading, "noheading", "n", false, "leave out the heads of the columns")
	flags.StringArrayVarP(&l.filters, "filter", "f", nil, "list those that `KEY=VALUE` fits: id, name, status, label, ancestor, exited, volume, network")
	flags.StringVar(&l.format, "format", "table", "`HOW` to print: table, json, or a template of Go with docker's names, as '{{.Names}}'")
	return cmd
}

type containerLister struct {
	containerFlags
	std     streams
	format  string
	filters []string
	last    int

	all, quiet, whole, size, latest, noHeading bool
}

// A containerRow is a container as "ps" prints it, by docker's names.
type containerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Ports, State, Status, Names, Labels, Mounts, Networks, LocalVolumes string

	Size string `json:",omitempty"`
}

// Label gives one label: {{.Label "KEY"}}.
func (r containerRow) Label(key string) string {
	for _, kv := range strings.Split(r.Labels, ",") {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}

func (l *containerLister) run(cmd *cobra.Command) error {
	keep, byStatus, err := containerFilter(l.filters)
	if err != nil {
		return err
	}
	if l.latest {
		l.last = 1
	}
	list, err := l.containerFlags.all(cmd.Context(), l.all || byStatus || l.last > 0)
	if err != nil {
		return err
	}
	rows := []containerRow{}
	for _, c := range list {
		if l.last > 0 && len(rows) == l.last {
			break
		}
		if !keep(c) {
			continue
		}
		r := l.row(c)
		if l.quiet {
			if _, err := fmt.Fprintln(l.std.out, r.ID); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, r)
	}
	if l.quiet {
		return nil
	}
	return l.print(rows)
}

func (l *containerLister) row(c *container.Container) containerRow {
	cfg := &c.Config
	id, command := cfg.ID, strings.Join(cfg.Process.Args(), " ")
	if !l.whole {
		id = id[:12]
		if r := []rune(command); len(r) > 20 {
			command = string(r[:19]) + "…"
		}
	}
	r := containerRow{
		ID: id, Image: cfg.Image.Name, Command: strconv.Quote(command), Names: cfg.Name, State: string(stateOf(c)), Status: statusOf(c),
		CreatedAt: cfg.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"), RunningFor: ago(cfg.Created), Networks: cfg.Host.NetworkMode,
	}
	for k, v := range cfg.Process.Labels {
		r.Labels = strings.TrimPrefix(r.Labels+","+k+"="+v, ",")
	}
	volumes := 0
	for _, m := range cfg.Mounts {
		name := m.Source
		if m.Type == "volume" {
			volumes++
			name = m.Name
		}
		r.Mounts = strings.TrimPrefix(r.Mounts+","+name, ",")
	}
	r.LocalVolumes = strconv.Itoa(volumes)
	if l.size {
		r.Size = size(c.Written())
	}
	return r
}

// stateOf is docker's word for what a container is doing.
func stateOf(c *container.Container) container.Status {
	if c.IsRunning() {
		if c.Paused() {
			return container.Paused
		}
		return container.Running
	}
	return c.State.Status
}

// statusOf is docker's sentence for it.
func statusOf(c *container.Container) string {
	st := &c.State
	switch stateOf(c) {
	case container.Paused:
		return "Up " + since(st.StartedAt) + " (Paused)"
	case container.Running:
		return "Up " + since(st.StartedAt)
	case container.Restarting:
		return fmt.Sprintf("Restarting (%d) %s", st.ExitCode, ago(st.FinishedAt))
	case container.Exited:
		return fmt.Sprintf("Exited (%d) %s", st.ExitCode, ago(st.FinishedAt))
	case container.Removing:
		return "Removal In Progress"
	}
	return "Created"
}

func (l *containerLister) print(rows []containerRow) error {
	switch format, table := strings.CutPrefix(l.format, "table"); {
	case l.format == "json":
		return printJSON(l.std.out, rows)
	case table && format == "":
		var lines [][]string
		if !l.noHeading {
			lines = append(lines, []string{"CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"})
			if l.size {
				lines[0] = append(lines[0], "SIZE")
			}
		}
		for _, r := range rows {
			line := []string{r.ID, r.Image, r.Command, r.RunningFor, r.Status, r.Ports, r.Names}
			if l.size {
				line = append(line, r.Size)
			}
			lines = append(lines, line)
		}
		return printTable(l.std.out, lines)
	default:
		return printTemplate(l.std.out, l.format, rows)
	}
}

// printTemplate prints each of rows by a template of docker's kind, or all as a
// table where that begins with "table".
func printTemplate[R any](w io.Writer, format string, rows []R) error {
	format, table := strings.CutPrefix(format, "table ")
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	var lines [][]string
	if table {
		head := strings.NewReplacer("{{.", "", "{{ .", "", " }}", "", "}}", "").Replace(strings.ReplaceAll(format, `\t`, "\t"))
		lines = append(lines, strings.Split(strings.ToUpper(head), "\t"))
	}
	for _, r := range rows {
		var b strings.Builder
		if err := t.Execute(&b, r); err != nil {
			return &usageError{err: fmt.Errorf("--format: %w", err)}
		}
		if !table {
			if _, err := fmt.Fprintln(w, b.String()); err != nil {
				return err
			}
		}
		lines = append(lines, strings.Split(b.String(), "\t"))
	}
	if !table {
		return nil
	}
	return printTable(w, lines)
}

// parseTemplate reads a template with docker's functions.
func parseTemplate(format string) (*template.Template, error) {
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	t, err := template.New("format").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"join": strings.Join, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper,
		"title": func(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] },
		"pad": func(s string, before, after int) string {
			return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
		},
		"truncate": func(s string, n int) string { return string([]rune(s)[:min(n, len([]rune(s)))]) },
	}).Parse(format)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("--format: %w", err)}
	}
	return t, nil
}

// containerFilter gives what says whether a container is to be listed, and
// whether those that do not run may be among them.
func containerFilter(filters []string) (keep func(*container.Container) bool, stopped bool, err error) {
	byKey := map[string][]func(*container.Container) bool{} // one of each key has to fit
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		var fits func(*container.Container) bool
		switch {
		case !ok:
		case key == "id":
			fits = func(c *container.Container) bool { return strings.HasPrefix(c.Config.ID, value) }
		case key == "name":
			fits = func(c *container.Container) bool { return strings.Contains(c.Config.Name, value) }
		case key == "status":
			stopped = true
			fits = func(c *container.Container) bool { return string(stateOf(c)) == value }
		case key == "exited":
			stopped = true
			fits = func(c *container.Container) bool {
				return c.State.Status == container.Exited && strconv.Itoa(c.State.ExitCode) == value
			}
		case key == "label":
			name, want, valued := strings.Cut(value, "=")
			fits = func(c *container.Container) bool {
				have, ok := c.Config.Process.Labels[name]
				return ok && (!valued || have == want)
			}
		case key == "ancestor":
			fits = func(c *container.Container) bool { return ofImage(c, value) }
		case key == "volume":
			fits = func(c *container.Container) bool {
				return slices.ContainsFunc(c.Config.Mounts, func(m container.Mount) bool {
					return m.Name == value || m.Destination == path.Clean(value)
				})
			}
		case key == "network":
			fits = func(c *container.Container) bool { return c.Config.Host.NetworkMode == value }
		}
		if fits == nil {
			return nil, false, &usageError{err: fmt.Errorf("no such filter: %s", f), hint: "id, name, status, exited, label, ancestor, volume or network, with =VALUE"}
		}
		byKey[key] = append(byKey[key], fits)
	}
	return func(c *container.Container) bool {
		for _, any := range byKey {
			if !slices.ContainsFunc(any, func(fits func(*container.Container) bool) bool { return fits(c) }) {
				return false
			}
		}
		return true
	}, stopped, nil
}

// ofImage reports whether a container is of an image, by name or ID.
func ofImage(c *container.Container, image string) bool {
	i := &c.Config.Image
	bare := strings.TrimPrefix(image, "sha256:")
	return i.Name == image || strings.TrimSuffix(i.Name, ":latest") == image ||
		len(bare) >= 4 && (strings.HasPrefix(strings.TrimPrefix(i.ID, "sha256:"), bare) || strings.HasPrefix(strings.TrimPrefix(i.Digest, "sha256:"), bare))
}
