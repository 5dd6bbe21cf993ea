package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mica/container"
)

// A session connects the user's terminal, or pipes, to a container.
type session struct {
	c      *container.Container
	std    streams
	stdin  bool // send standard input
	output bool
	tty    bool   // of the container
	proxy  bool   // pass signals on
	keys   []byte // that leave the container to itself; empty is none
}

// errDetached says that the user has left the container to itself.
var errDetached = errors.New("detached")

// streams are what the container is connected to.
func (s *session) streams() container.Streams {
	var out container.Streams
	if s.stdin {
		out.Stdin = s.std.in
	}
	if s.output {
		out.Stdout, out.Stderr = s.std.out, s.std.err
	}
	return out
}

// size is that of the terminal, or zero.
func (s *session) size() (rows, columns uint16) {
	if f, ok := s.std.out.(*os.File); ok && s.tty {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return uint16(h), uint16(w)
		}
	}
	return 0, 0
}

// catch begins to catch the signals that are to be passed on. They wait until
// the container runs.
func (s *session) catch() chan os.Signal {
	signals := make(chan os.Signal, 64)
	if s.proxy && !s.tty {
		var all []os.Signal
		for n := unix.Signal(1); n < 65; n++ {
			switch n {
			case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGKILL, unix.SIGSTOP, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			default:
				all = append(all, n)
			}
		}
		signal.Notify(signals, all...)
	}
	signal.Notify(signals, unix.SIGWINCH)
	return signals
}

// run connects until the container has ended, whose exit status it gives, or
// the user has had enough of it. The terminal is as it was before, whatever happens.
func (s *session) run(client *container.Client, signals chan os.Signal) (code int, err error) {
	defer client.Close()
	restore, err := s.raw()
	if err != nil {
		return 0, err
	}
	defer restore()
	detached := make(chan struct{})
	if s.stdin {
		go func() {
			in := io.Reader(s.std.in)
			if len(s.keys) > 0 && s.tty {
				in = &detacher{r: s.std.in, keys: s.keys, detach: func() { close(detached) }}
			}
			// What ends it ends the container, or is the end of input.
			_ = client.SendInput(in)
		}()
	}
	done := make(chan struct{})
	defer close(done)
	go s.signals(client, signals, done)
	type result struct {
		code int
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		code, err := client.Wait(s.streams())
		ended <- result{code, err}
	}()
	select {
	case r := <-ended:
		return r.code, r.err
	case <-detached:
		return 0, errDetached
	}
}

// raw has the terminal pass all keys on.
func (s *session) raw() (restore func(), err error) {
	f, ok := s.std.in.(*os.File)
	if !ok || !s.tty || !s.stdin || !term.IsTerminal(int(f.Fd())) {
		return func() {}, nil
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() { _ = term.Restore(int(f.Fd()), old) }, nil
}

// signals passes signals on, and the size of the terminal: at most one size
// each few milliseconds, however often it changes.
func (s *session) signals(client *container.Client, signals chan os.Signal, done chan struct{}) {
	for {
		select {
		case sig := <-signals:
			if sig != unix.SIGWINCH {
				// One that has ended meanwhile needs none.
				if s.c.Reload() == nil {
					_ = s.c.Signal(context.Background(), sig.(unix.Signal))
				}
				continue
			}
			time.Sleep(5 * time.Millisecond)
			for pending := true; pending; {
				select {
				case more := <-signals:
					if more != unix.SIGWINCH {
						_ = s.c.Signal(context.Background(), more.(unix.Signal))
					}
				default:
					pending = false
				}
			}
			if rows, columns := s.size(); rows > 0 {
				_ = client.Resize(rows, columns)
			}
		case <-done:
			return
		}
	}
}

// A detacher reads until the keys come that detach.
type detacher struct {
	r      io.Reader
	keys   []byte
	held   int // of the keys, how many came last
	detach func()
}

func (d *detacher) Read(b []byte) (int, error) {
	// Room for keys that turn out to be others.
	n, err := d.r.Read(b[:max(1, len(b)-len(d.keys))])
	var out bytes.Buffer
	for _, c := range b[:n] {
		if c == d.keys[d.held] {
			if d.held++; d.held == len(d.keys) {
				d.detach()
				select {} // nothing more is read for it
			}
			continue
		}
		out.Write(d.keys[:d.held])
		d.held = 0
		if c == d.keys[0] && len(d.keys) > 1 {
			d.held = 1
			continue
		}
		out.WriteByte(c)
	}
	return copy(b, out.Bytes()), err
}

// parseKeys reads docker's --detach-keys: "ctrl-p,ctrl-q", "a".
func parseKeys(text string) (keys []byte, err error) {
	if text == "" {
		return nil, nil
	}
	for _, word := range strings.Split(text, ",") {
		letter, ctrl := strings.CutPrefix(word, "ctrl-")
		switch {
		case !ctrl && len(word) == 1:
			keys = append(keys, word[0])
		case ctrl && len(letter) == 1 && (letter[0] >= 'a' && letter[0] <= 'z' || strings.ContainsRune(`@[\]^_`, rune(letter[0]))):
			keys = append(keys, letter[0]&0x1f)
		default:
			return nil, &usageError{err: fmt.Errorf("--detach-keys %s: want letters and ctrl-LETTER, with commas", text)}
		}
	}
	return keys, nil
}
