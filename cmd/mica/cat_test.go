package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCat(t *testing.T) {
	image := filesImage(t)
	for _, tt := range []struct {
		args, stdout, stderr string
		status               int
	}{
		{args: "/usr/bin/su", stdout: "su me"},
		{args: "bin/su /etc/group usr/../usr/bin/su", stdout: "su meroot:x:0:\ndisk:x:6:su\nsu me"},
		{args: "/none /usr/bin/su", stdout: "su me", stderr: "mica: cat IMAGE: /none: no such file or directory\n", status: 3},
		{args: "/broken", stderr: "mica: cat IMAGE: /broken: no such file or directory\n", status: 3},
		{args: "/none /etc /usr/bin/su /dev/null", stdout: "su me", status: 1,
			stderr: "mica: cat IMAGE: /none: no such file or directory\nmica: cat IMAGE: /etc: is a directory\nmica: cat IMAGE: /dev/null: not a regular file\n"},
		{stderr: "mica: cat: PATH missing\nhint: usage: mica cat [flags] IMAGE PATH…\n", status: 2},
	} {
		got := mica(t, append([]string{"cat", image}, strings.Fields(tt.args)...)...)
		got.stderr = strings.ReplaceAll(got.stderr, image, "IMAGE")
		if want := (result{tt.stdout, tt.stderr, tt.status}); got != want {
			t.Errorf("cat %s = %+v, want %+v", tt.args, got, want)
		}
	}
	if got := mica(t, "cat", image, "/usr/bin/big").stdout; len(got) != 123456 || strings.ReplaceAll(got, "0123456789abcde\n", "") != "" {
		t.Errorf("big: %d bytes, want 123456 of one line", len(got))
	}
}

// TestCatIntoClosedPipe: nobody reads any more, so nothing is told, and the
// files to come are not tried.
func TestCatIntoClosedPipe(t *testing.T) {
	image := filesImage(t)
	var errs strings.Builder
	w := &brokenPipe{}
	status := run(context.Background(), []string{"cat", image, "/usr/bin/su", "/usr/bin/su"}, streams{nil, w, &errs})
	if w.writes != 1 || errs.String() != "" || status != exitSignal+int(unix.SIGPIPE) {
		t.Errorf("%d writes, status %d, %q; want 1, 141, nothing", w.writes, status, errs.String())
	}
}

type brokenPipe struct{ writes int }

func (p *brokenPipe) Write([]byte) (int, error) { p.writes++; return 0, unix.EPIPE }

// TestCatInterrupted: an interrupt ends it at once, and is told once.
func TestCatInterrupted(t *testing.T) {
	image := filesImage(t)
	mica(t, "index", image)
	ctx, cancel := context.WithCancelCause(context.Background())
	var errs strings.Builder
	w := writerFunc(func(p []byte) (int, error) { cancel(signalError{unix.SIGINT}); return len(p), nil })
	status := run(ctx, []string{"cat", image, "/usr/bin/su", "/etc/group", "/none"}, streams{nil, w, &errs})
	if want := "mica: cat: interrupted\n"; errs.String() != want || status != exitSignal+int(unix.SIGINT) {
		t.Errorf("status %d, %q; want 130, %q", status, errs.String(), want)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("nothing was written")
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
