package container

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Streams are what a client connects to a container. Each may be nil.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// A Client is a connection to a supervisor.
type Client struct {
	conn   *net.UnixConn
	frames *frameReader
}

// Start starts the container, whose root file system is mounted now, and returns
// when it runs. The size of the terminal may be zero. What it gives must be
// waited for, or closed. A failure is a [RuntimeError] or what kept the
// container from being started; the supervisor has tidied up then, or
// the caller has the container in its charge again.
func (l *Launch) Start(s Streams, rows, cols uint16) (*Client, error) {
	if err := l.c.PrepareMounts(); err != nil {
		return nil, l.fail(err)
	}
	if err := l.c.writeBundle(rows, cols); err != nil {
		return nil, l.fail(err)
	}
	err := l.c.change(func(st *State) { st.Stopped, st.Restarts = false, 0 })
	if err != nil {
		return nil, l.fail(err)
	}
	client := &Client{l.conn, newFrameReader(l.conn)}
	hi := hello{Stdin: s.Stdin != nil, Output: s.Stdout != nil || s.Stderr != nil}
	if err := writeJSONFrame(l.conn, frameStart, hi); err != nil {
		return nil, l.fail(err)
	}
	go func() { _ = l.cmd.Wait() }() // it goes on after us, or else is no zombie
	return client, nil
}

func (l *Launch) fail(err error) error {
	l.Abandon()
	return errors.Join(err, l.c.Unmount())
}

// Attach connects to the supervisor of a container that runs.
func (c *Container) Attach(s Streams) (*Client, error) {
	var conn *net.UnixConn
	err := viaDir(c.dir, func(dir string) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: dir + "/attach", Net: "unix"})
		return err
	})
	if err != nil {
		if c.running() {
			return nil, errors.New("runs without a supervisor, which was killed: its output goes nowhere")
		}
		return nil, &NotRunningError{c.Config.Name}
	}
	hi := hello{Stdin: s.Stdin != nil, Output: s.Stdout != nil || s.Stderr != nil}
	if err := writeJSONFrame(conn, frameHello, hi); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Client{conn, newFrameReader(conn)}, nil
}

// Close leaves the container to itself.
func (c *Client) Close() error { return c.conn.Close() }

// Resize tells the size of the user's terminal.
func (c *Client) Resize(rows, cols uint16) error {
	return writeJSONFrame(c.conn, frameResize, winsize{rows, cols})
}

// SendInput sends standard input until its end, or until the container has ended.
func (c *Client) SendInput(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := writeFrame(c.conn, frameStdin, buf[:n]); err != nil {
				return nil // it has ended
			}
		}
		if err == io.EOF {
			_ = writeFrame(c.conn, frameEOF, nil)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// errLost says that the supervisor has gone without a word.
var errLost = errors.New("the supervisor was killed")

// AwaitStart waits until the container runs, passing output on meanwhile.
func (c *Client) AwaitStart(s Streams) error {
	_, _, err := c.await(s, true)
	return err
}

// Wait passes output on until the container has ended, and gives its exit status.
func (c *Client) Wait(s Streams) (code int, err error) {
	code, ended, err := c.await(s, false)
	if err == nil && !ended {
		err = errLost
	}
	return code, err
}

func (c *Client) await(s Streams, start bool) (code int, ended bool, err error) {
	for {
		f, err := c.frames.next()
		if err == io.EOF {
			return 0, false, errLost
		}
		if err != nil {
			return 0, false, err
		}
		switch f.kind {
		case frameStdout:
			err = pass(s.Stdout, f.data)
		case frameStderr:
			err = pass(s.Stderr, f.data)
		case frameStarted:
			if start {
				return 0, false, nil
			}
		case frameFailed:
			var text failure
			if err := f.decode(&text); err != nil {
				return 0, false, err
			}
			return 0, false, &RuntimeError{Text: text.Text, Status: text.Status, hint: text.Hint}
		case frameExit:
			var e exit
			err := f.decode(&e)
			return e.Code, true, err
		}
		if err != nil {
			return 0, false, fmt.Errorf("output: %w", err)
		}
	}
}

func pass(w io.Writer, b []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(b)
	return err
}
