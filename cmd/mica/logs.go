package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mica/container"
)

func newLogs(std streams) *cobra.Command {
	var f containerFlags
	var q container.LogQuery
	var tail, since, until string
	var times bool
	cmd := &cobra.Command{
		Use:   "logs [flags] CONTAINER",
		Short: "Print what a container has written",
		Long: `Logs prints the output of CONTAINER, what it wrote to standard error there. It is
kept as docker's json-file has it, in containers/ID/log.json of the store.`,
		Example: `  mica logs web
  mica logs -f --tail 10 web
  mica logs -t --since 10m web 2>&1 | grep -i error`,
		ValidArgsFunction: f.completeOne(nil),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.Tail = -1
			if tail != "all" {
				if q.Tail, err = strconv.Atoi(tail); err != nil || q.Tail < 0 {
					return &usageError{err: fmt.Errorf("--tail %s: a number of lines, or all", tail)}
				}
			}
			if q.Since, err = parseMoment("--since", since); err != nil {
				return err
			}
			if q.Until, err = parseMoment("--until", until); err != nil {
				return err
			}
			c, err := f.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = c.Logs(cmd.Context(), q, func(e *container.LogEntry) error {
				w, text := std.out, e.Log
				if e.Stream == "stderr" {
					w = std.err
				}
				if times {
					text = e.Time.Format(time.RFC3339Nano) + " " + text
				}
				_, err := fmt.Fprint(w, text)
				return err
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				return &argError{args[0], err}
			}
			return err
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on as it writes, until it ends")
	cmd.Flags().StringVarP(&tail, "tail", "n", "all", "print the last `NUMBER` of lines alone")
	cmd.Flags().StringVar(&since, "since", "", "print what it wrote from `TIME` on: as 2006-01-02T15:04:05, or 10m for ten minutes ago")
	cmd.Flags().StringVar(&until, "until", "", "print what it wrote up to `TIME`")
	cmd.Flags().BoolVarP(&times, "timestamps", "t", false, "print when it wrote each line")
	return cmd
}

// parseMoment reads a time by RFC 3339 or parts of it, in seconds of 1970, or
// as long ago.
func parseMoment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-d), nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Unix(0, int64(n*1e9)), nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{err: fmt.Errorf("%s %s: no time (as 2006-01-02T15:04:05, 10m, 1136239445)", flag, text)}
}

func newAttach(std streams) *cobra.Command {
	var f containerFlags
	var noStdin, proxy bool
	var keysText string
	cmd := &cobra.Command{
		Use:   "attach [flags] CONTAINER",
		Short: "Connect to a container that runs",
		Long: `Attach shows the output of CONTAINER from now on, sends it standard input and
signals, and ends when it does, with its exit status.`,
		Example: `  mica attach shell
  mica attach --no-stdin web
  mica attach --detach-keys ctrl-x shell`,
		Annotations:       map[string]string{exitsAsContainer: "yes"},
		ValidArgsFunction: f.completeOne(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := parseKeys(keysText)
			if err != nil {
				return err
			}
			c, err := f.find(cmd.Context(), args[0])
			if err != nil {
				return runError(err)
			}
			p := &c.Config.Process
			on := &session{c: c, std: std, tty: p.Tty, stdin: p.OpenStdin && !noStdin, output: true, proxy: proxy, keys: keys}
			signals := on.catch()
			client, err := c.Attach(on.streams())
			if err != nil {
				return runError(&argError{args[0], err})
			}
			if rows, columns := on.size(); rows > 0 {
				_ = client.Resize(rows, columns) // it may end this instant
			}
			return runError((&runner{std: std}).finish(on, client, signals, args[0]))
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "do not send standard input")
	cmd.Flags().BoolVar(&proxy, "sig-proxy", true, "pass signals on to it")
	cmd.Flags().StringVar(&keysText, "detach-keys", "ctrl-p,ctrl-q", "`KEYS` that leave it to itself, if it has a terminal")
	return cmd
}
