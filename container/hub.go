package container

import (
	"io"
	"net"
	"slices"
	"sync"
)

// A hub is where the streams of a container and its clients meet, in the
// supervisor.
type hub struct {
	log  *logWriter
	once bool // standard input ends with the client that sends it

	mu      sync.Mutex
	clients []*hubClient
	stdin   io.WriteCloser          // nil: there is none, or no more
	resize  func(rows, cols uint16) // nil: no terminal
	last    winsize                 // wanted before there was one
	ended   *exit                   // set once all is over
	failed  *failure
	started bool
}

type hubClient struct {
	conn net.Conn
	hello
}

// add takes a client, of which first is what it has said first, and tells it what
// it has missed. It gives nil where the client cannot be understood.
func (h *hub) add(conn net.Conn, first frame) *hubClient {
	c := &hubClient{conn: conn}
	if err := first.decode(&c.hello); err != nil {
		conn.Close()
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// Should it be gone, its reader finds out.
	_ = writeFrame(conn, frameAttached, nil)
	if h.started {
		_ = writeFrame(conn, frameStarted, nil)
	}
	switch {
	case h.failed != nil:
		_ = writeJSONFrame(conn, frameFailed, h.failed)
	case h.ended != nil:
		_ = writeJSONFrame(conn, frameExit, h.ended)
	}
	h.clients = append(h.clients, c)
	return c
}

// serve does what a client says until it is gone.
func (h *hub) serve(c *hubClient, fr *frameReader) {
	for {
		f, err := fr.next()
		if err != nil {
			break
		}
		h.take(c, f)
	}
	h.remove(c)
}

func (h *hub) remove(c *hubClient) {
	c.conn.Close()
	h.mu.Lock()
	h.clients = slices.DeleteFunc(h.clients, func(o *hubClient) bool { return o == c })
	other := slices.ContainsFunc(h.clients, func(o *hubClient) bool { return o.Stdin })
	h.mu.Unlock()
	if c.Stdin && h.once && !other {
		h.closeStdin()
	}
}

// take does what a client has sent.
func (h *hub) take(c *hubClient, f frame) {
	switch f.kind {
	case frameStdin:
		h.mu.Lock()
		in := h.stdin
		h.mu.Unlock()
		if in != nil && c.Stdin {
			// Where nobody reads it any more it goes nowhere, as docker has it.
			_, _ = in.Write(f.data)
		}
	case frameEOF:
		if c.Stdin && h.once {
			h.closeStdin()
		}
	case frameResize:
		var w winsize
		if f.decode(&w) == nil {
			h.setSize(w)
		}
	}
}

func (h *hub) setSize(w winsize) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = w
	if h.resize != nil {
		h.resize(w.Rows, w.Columns)
	}
}

func (h *hub) closeStdin() {
	h.mu.Lock()
	in := h.stdin
	if h.resize == nil { // of a terminal the input is the output, too
		h.stdin = nil
	} else {
		in = nil
	}
	h.mu.Unlock()
	if in != nil {
		in.Close()
	}
}

// connect says what standard input is, and what changes the size of the terminal.
func (h *hub) connect(stdin io.WriteCloser, resize func(rows, cols uint16)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stdin, h.resize = stdin, resize
	if resize != nil && h.last != (winsize{}) {
		resize(h.last.Rows, h.last.Columns)
	}
}

// output takes output until its end: into the log, and to each client that wants
// it. A client that does not read holds the container up, as a pipe would.
func (h *hub) output(r io.Reader, kind frameKind) {
	stream := "stdout"
	if kind == frameStderr {
		stream = "stderr"
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			h.log.write(stream, buf[:n])
			h.broadcast(kind, buf[:n])
		}
		if err != nil { // EIO is a terminal's end
			h.log.flush(stream)
			return
		}
	}
}

func (h *hub) broadcast(kind frameKind, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.clients {
		if c.Output || kind != frameStdout && kind != frameStderr {
			// Its reader finds out that it is gone.
			_ = writeFrame(c.conn, kind, data)
		}
	}
}

func (h *hub) tellStarted() {
	h.mu.Lock()
	h.started = true
	h.mu.Unlock()
	h.broadcast(frameStarted, nil)
}

func (h *hub) tellFailed(f failure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = &f
	for _, c := range h.clients {
		_ = writeJSONFrame(c.conn, frameFailed, f)
	}
}

func (h *hub) tellExit(code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = &exit{code}
	for _, c := range h.clients {
		_ = writeJSONFrame(c.conn, frameExit, h.ended)
	}
}
