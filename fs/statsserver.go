package fs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
)

// A server answers on a socket beside its record: a line that says what is
// asked for, "stats" or "trace", is answered by one JSON value or by one a line
// until the client has had enough.
const statsSocket = "stats"

const (
	asksStats = "stats"
	asksTrace = "trace"
)

// maxAskers is how many clients are served at once.
const maxAskers = 8

// ReadStats asks the server of a mount what it has done.
func ReadStats(m Info) (*Stats, error) {
	conn, err := askServer(m, asksStats)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A server that is stopped, by a debugger perhaps, is not waited for.
	if err := conn.SetDeadline(time.Now().Add(mostStatsWait)); err != nil {
		return nil, err
	}
	var st Stats
	if err := json.NewDecoder(conn).Decode(&st); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return &st, nil
}

// mostStatsWait is how long a server may take to tell its stats.
const mostStatsWait = 5 * time.Second

// A Touched is a file whose contents were asked for, by the first read that the
// kernel did not answer out of its page cache.
type Touched struct {
	Time  time.Time `json:"time"`
	Path  string    `json:"path"`  // in the mount, "/" first
	Bytes int64     `json:"bytes"` // that the file has
}

// Trace calls touched for each file that is touched from now on, once, until
// that gives an error, the mount is gone, or stop is closed.
func Trace(m Info, stop <-chan struct{}, touched func(Touched) error) error {
	conn, err := askServer(m, asksTrace)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stop:
		case <-done:
		}
		conn.Close()
	}()
	for dec := json.NewDecoder(conn); ; {
		var t Touched
		if err := dec.Decode(&t); err == io.EOF || errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("server: %w", err)
		}
		if err := touched(t); err != nil {
			return err
		}
	}
}

func askServer(m Info, what string) (net.Conn, error) {
	conn, err := dialMount(m, statsSocket)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(conn, what); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// listenStats answers clients from now on, as long as the process serves.
func (s *Server) listenStats(runtimeDir string, minor int) {
	l, err := listenUnix(socketPath(runtimeDir, minor, statsSocket))
	if err != nil {
		s.log.Warn("nobody can ask for statistics", slog.Any("err", err))
		return
	}
	go func() {
		askers := make(chan struct{}, maxAskers)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			askers <- struct{}{}
			go func() {
				s.answerAsker(conn)
				conn.Close()
				<-askers
			}()
		}
	}()
}

// answerAsker serves one client. An error is that it has gone.
func (s *Server) answerAsker(conn net.Conn) {
	in := bufio.NewReader(io.LimitReader(conn, 1<<10))
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	out := json.NewEncoder(conn)
	out.SetEscapeHTML(false)
	switch strings.TrimSpace(line) {
	case asksStats:
		_ = out.Encode(s.Stats())
	case asksTrace:
		gone := make(chan struct{})
		go func() {
			_, _ = in.ReadByte() // nothing comes but the end
			close(gone)
		}()
		s.h.tracers.follow(gone, func(t touch) error {
			a, err := s.h.view.Attr(t.node)
			if err != nil {
				return nil
			}
			return out.Encode(Touched{t.when, s.h.pathOf(t.node), a.Size})
		})
	}
}
