package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A testTerminal is a terminal whose screen is in a test.
type testTerminal struct {
	*os.File // the program's end
	screen   lockedBuffer
	closed   chan struct{}
}

// newTerminal opens a pseudo-terminal of so many columns.
func newTerminal(t *testing.T, columns uint16) *testTerminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	need(t, err)
	t.Cleanup(func() { near.Close() })
	// Not by Fd, which would make reads wait beyond Close.
	conn, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if err == nil {
			err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &testTerminal{File: far, closed: make(chan struct{})}
	go func() {
		defer close(term.closed)
		io.Copy(&term.screen, near) // ends with EIO when the far end is closed
	}()
	return term
}

// text closes the terminal and gives all that was written to it.
func (t *testTerminal) text() string {
	t.Close()
	<-t.closed
	return strings.ReplaceAll(t.screen.String(), "\r\n", "\n")
}

// wait waits until something is on the screen.
func (t *testTerminal) wait(test *testing.T, want string) {
	test.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(t.screen.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			test.Fatalf("the terminal shows %q, want %q in it", t.screen.String(), want)
		}
	}
}

func TestWidth(t *testing.T) {
	term := newTerminal(t, 57)
	t.Setenv("COLUMNS", "99")
	t.Setenv("TERM", "xterm")
	if got := width(term.File); got != 57 {
		t.Errorf("width of a terminal = %d, want its 57 columns", got)
	}
	if !canRedraw(term.File) {
		t.Error("a terminal cannot be redrawn")
	}
	t.Setenv("TERM", "dumb")
	if canRedraw(term.File) {
		t.Error("a dumb terminal can be redrawn")
	}
	if got := width(io.Discard); got != 99 {
		t.Errorf("width elsewhere = %d, want $COLUMNS, 99", got)
	}
	t.Setenv("COLUMNS", "")
	if got := width(io.Discard); got != 0 {
		t.Errorf("width without $COLUMNS = %d, want 0", got)
	}
	term.text()
}
