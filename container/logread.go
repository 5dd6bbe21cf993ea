package container

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A LogEntry is a line of output, or a piece of a long one.
type LogEntry struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"` // stdout or stderr
	Time   time.Time `json:"time"`
}

// A LogQuery says which entries are wanted. Zero is all that there are.
type LogQuery struct {
	Since, Until time.Time
	Tail         int  // so many from the end; below zero is all
	Follow       bool // and those to come, until the container ends
}

// Logs calls each with the entries of a container's log, in their order. Its
// error ends it.
func (c *Container) Logs(ctx context.Context, q LogQuery, each func(*LogEntry) error) error {
	if c.Config.Host.LogConfig.Type == "none" {
		return errors.New("keeps no log: --log-driver none")
	}
	wanted := func(e *LogEntry) bool {
		return !(e.Time.Before(q.Since) || !q.Until.IsZero() && e.Time.After(q.Until))
	}
	r := &logReader{path: c.path("log.json")}
	defer r.close()
	if err := r.first(); err != nil {
		return err
	}
	var kept []LogEntry // with Tail, the last ones so far
	for {
		// Whether it has ended is asked before the end of the log is looked for.
		ended := !c.Supervised()
		e, err := r.next()
		for err == nil {
			if wanted(e) {
				if q.Tail < 0 {
					err = each(e)
				} else if q.Tail > 0 {
					if len(kept) == q.Tail {
						kept = append(kept[:0], kept[1:]...)
					}
					kept = append(kept, *e)
				}
			}
			if err == nil {
				e, err = r.next()
			}
		}
		if err != io.EOF {
			return err
		}
		for i := range kept {
			if err := each(&kept[i]); err != nil {
				return err
			}
		}
		kept, q.Tail = nil, -1
		if !q.Follow || ended || !q.Until.IsZero() && time.Now().After(q.Until) {
			return nil
		}
		select {
		case <-time.After(logPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logPoll is how often a log is looked at that is being followed.
const logPoll = 30 * time.Millisecond

// A logReader reads the files of a log, the oldest first, and goes on where
// files are renamed meanwhile.
type logReader struct {
	path string
	file *os.File
	r    *bufio.Reader
	line []byte // begun, its end not written yet
}

// name is the path of a file of the log, 0 the newest.
func (r *logReader) name(n int) string {
	if n == 0 {
		return r.path
	}
	return fmt.Sprint(r.path, ".", n)
}

// first opens the oldest file.
func (r *logReader) first() error {
	n := 0
	for {
		if _, err := os.Stat(r.name(n + 1)); err != nil {
			break
		}
		n++
	}
	return r.open(n)
}

func (r *logReader) open(n int) (err error) {
	f, err := os.Open(r.name(n))
	if os.IsNotExist(err) {
		return nil // nothing was written yet
	}
	if err != nil {
		return err
	}
	r.close()
	r.file, r.r, r.line = f, bufio.NewReaderSize(f, 64<<10), nil
	return nil
}

func (r *logReader) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// newer opens the file that was begun after the one being read, if there is one.
func (r *logReader) newer() (bool, error) {
	if r.file == nil {
		err := r.open(0)
		return r.file != nil, err
	}
	mine, err := r.file.Stat()
	if err != nil {
		return false, err
	}
	for n := 0; ; n++ {
		st, err := os.Stat(r.name(n))
		if os.IsNotExist(err) && n > 0 {
			// It is not there any more: what was lost with it was to be lost.
			return true, r.first()
		}
		if err == nil && os.SameFile(mine, st) {
			if n == 0 {
				return false, nil
			}
			return true, r.open(n - 1)
		}
		if err != nil && !os.IsNotExist(err) {
			return false, err
		}
	}
}

// next gives the next entry; io.EOF is that there is none yet.
func (r *logReader) next() (*LogEntry, error) {
	for {
		if r.r != nil {
			more, err := r.r.ReadBytes('\n')
			r.line = append(r.line, more...)
			if err == nil {
				var e LogEntry
				err := json.Unmarshal(r.line, &e)
				r.line = nil
				if err != nil {
					continue // cut short when the disk was full
				}
				return &e, nil
			}
			if err != io.EOF {
				return nil, err
			}
		}
		ok, err := r.newer()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, io.EOF
		}
	}
}
