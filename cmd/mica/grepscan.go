package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// A grepFound is what of a file has matched.
type grepFound struct {
	lines  string // each with its end, and with its number where that is wanted
	binary bool   // it is no text, whose lines are not told
}

// errSeen ends the reading of a file of which nothing more is wanted.
var errSeen = errors.New("seen")

// A grepScan looks through a file that is written to it.
type grepScan struct {
	*grepper
	rest   []byte // the beginning of a line
	number int    // lines before that
	lines  strings.Builder
	hit    bool
	binary bool
}

// maxGrepLine is how long a line may be, in bytes; a longer one is looked at in pieces.
const maxGrepLine = 4 << 20

func (s *grepScan) Write(b []byte) (int, error) {
	if !s.text && !s.binary && bytes.IndexByte(b, 0) >= 0 {
		s.binary = true
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if end == 0 && len(s.rest) < maxGrepLine {
		s.rest = append(s.rest, b...)
		return len(b), nil
	}
	whole := b[:end]
	if len(s.rest) > 0 {
		whole = append(s.rest, b[:end]...)
		s.rest = whole[:0]
	}
	s.look(whole)
	s.rest = append(s.rest[:0:0], b[end:]...)
	if s.hit && (s.names || s.binary) {
		return 0, errSeen
	}
	return len(b), nil
}

// look searches whole lines: most have no match, which is found at once.
func (s *grepScan) look(b []byte) {
	for len(b) > 0 {
		at := s.pattern.FindIndex(b)
		if at == nil || at[0] == len(b) && b[len(b)-1] == '\n' { // behind the last line there is none
			break
		}
		s.hit = true
		if s.names || s.binary {
			return
		}
		from := bytes.LastIndexByte(b[:at[0]], '\n') + 1
		to := len(b)
		if n := bytes.IndexByte(b[at[0]:], '\n'); n >= 0 {
			to = at[0] + n + 1
		}
		if s.numbers {
			s.number += bytes.Count(b[:from], []byte{'\n'}) + 1
			s.lines.WriteString(strconv.Itoa(s.number) + ":")
		}
		s.lines.Write(b[from:to])
		b = b[to:]
	}
	if s.numbers {
		s.number += bytes.Count(b, []byte{'\n'})
	}
}

// end gives what has been found, nil if nothing.
func (s *grepScan) end() *grepFound {
	if len(s.rest) > 0 && !(s.hit && (s.names || s.binary)) {
		s.look(s.rest)
	}
	if !s.hit {
		return nil
	}
	lines := s.lines.String()
	if lines != "" && !strings.HasSuffix(lines, "\n") {
		lines += "\n"
	}
	return &grepFound{lines, s.binary}
}
