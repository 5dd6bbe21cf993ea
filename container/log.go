package container

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
)

// A logWriter keeps output as docker's json-file does: an object a line, and
// lines longer than maxLine in pieces. A file that has become too long is
// renamed, and so many are kept.
type logWriter struct {
	path     string
	maxSize  int64 // bytes
	maxFiles int

	mu      sync.Mutex
	file    *os.File // nil: nothing is kept
	size    int64
	partial map[string][]byte // of each stream, what has no end of line yet
	buf     []byte
}

// maxLine is how many bytes of a line are one entry, as docker has it.
const maxLine = 16 << 10

// maxWrite is about how many bytes are written at once, and by how many the
// files can be shorter than they may be.
const maxWrite = 32 << 10

// Limits unless asked otherwise: those of docker's "local" driver.
const (
	logSize  = 20 << 20
	logFiles = 5
)

// CheckLog gives an error for what a log cannot be.
func CheckLog(cfg LogConfig) error {
	_, err := newLogWriter("", cfg)
	return err
}

// newLogWriter gives one that writes to path; "" is none that writes.
func newLogWriter(path string, cfg LogConfig) (*logWriter, error) {
	w := &logWriter{path: path, maxSize: logSize, maxFiles: logFiles, partial: map[string][]byte{}}
	for key, value := range cfg.Config {
		var err error
		switch key {
		case "max-size":
			w.maxSize, err = units.RAMInBytes(value)
			if err == nil && w.maxSize < 1 && value != "-1" {
				err = fmt.Errorf("%s is no size", value)
			}
		case "max-file":
			w.maxFiles, err = strconv.Atoi(value)
			if err == nil && w.maxFiles < 1 {
				err = fmt.Errorf("at least one file is kept")
			}
		case "mode", "compress", "tag", "labels", "env":
			// docker's, of no meaning here.
		default:
			err = fmt.Errorf("no such option (max-size, max-file)")
		}
		if err != nil {
			return nil, fmt.Errorf("--log-opt %s=%s: %w", key, value, err)
		}
	}
	switch cmp.Or(cfg.Type, "json-file") {
	case "json-file", "local":
	case "none":
		return w, nil
	default:
		return nil, fmt.Errorf("--log-driver %s: json-file or none", cfg.Type)
	}
	if path == "" {
		return w, nil
	}
	return w, w.open()
}

func (w *logWriter) open() (err error) {
	if w.file, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640); err != nil {
		return err
	}
	st, err := w.file.Stat()
	if err == nil {
		w.size = st.Size()
	}
	return err
}

// write takes output of a stream. What cannot be written, the disk being full,
// is lost: the container goes on.
func (w *logWriter) write(stream string, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return
	}
	now := time.Now()
	w.buf = w.buf[:0]
	line := w.partial[stream]
	for len(b) > 0 {
		n, whole := lineEnd(b, maxLine-len(line))
		line = append(line, b[:n]...)
		b = b[n:]
		if !whole && len(line) < maxLine {
			break
		}
		w.buf = appendEntry(w.buf, stream, line, now)
		line = line[:0]
		if len(w.buf) > maxWrite || w.maxSize > 0 && int64(len(w.buf)) > w.maxSize/2 {
			w.put()
		}
	}
	w.partial[stream] = line
	w.put()
}

// lineEnd gives how many bytes up to the end of line, or up to limit.
func lineEnd(b []byte, limit int) (n int, whole bool) {
	for i, c := range b[:min(len(b), limit)] {
		if c == '\n' {
			return i + 1, true
		}
	}
	return min(len(b), limit), false
}

// flush writes a last line that has no end.
func (w *logWriter) flush(stream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if line := w.partial[stream]; len(line) > 0 && w.file != nil {
		w.buf = appendEntry(w.buf[:0], stream, line, time.Now())
		w.partial[stream] = nil
		w.put()
	}
}

func (w *logWriter) put() {
	if len(w.buf) == 0 || w.file == nil {
		return
	}
	if w.maxSize > 0 && w.size > 0 && w.size+int64(len(w.buf)) > w.maxSize {
		w.rotate()
		if w.file == nil {
			return
		}
	}
	n, _ := w.file.Write(w.buf)
	w.size += int64(n)
	w.buf = w.buf[:0]
}

// rotate begins a new file, and keeps as many as there may be.
func (w *logWriter) rotate() {
	w.file.Close() // nothing that is lost by it is not lost already
	w.file = nil
	if w.maxFiles == 1 {
		_ = os.Truncate(w.path, 0)
	} else {
		for i := w.maxFiles - 1; i > 1; i-- {
			_ = os.Rename(fmt.Sprint(w.path, ".", i-1), fmt.Sprint(w.path, ".", i))
		}
		_ = os.Rename(w.path, w.path+".1")
	}
	_ = w.open()
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// appendEntry appends {"log":…,"stream":…,"time":…} and an end of line.
func appendEntry(dst []byte, stream string, line []byte, at time.Time) []byte {
	dst = append(dst, `{"log":`...)
	dst = appendString(dst, line)
	dst = append(dst, `,"stream":"`...)
	dst = append(dst, stream...)
	dst = append(dst, `","time":"`...)
	dst = at.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, "\"}\n"...)
}

const hexDigits = "0123456789abcdef"

// appendString appends bytes as a JSON string. What is not UTF-8 becomes
// U+FFFD: there is no other way to say it.
func appendString(dst, b []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRune(b[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
