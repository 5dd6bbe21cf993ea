package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// isTerminal reports whether what is written to w is seen by a person at once.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// canRedraw reports whether a terminal can be written to in place.
func canRedraw(w io.Writer) bool { return isTerminal(w) && os.Getenv("TERM") != "dumb" }

// width is that of the terminal behind w in columns, else $COLUMNS, else 0 for
// without end: nothing is cut in a pipe.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			return columns
		}
	}
	columns, _ := strconv.Atoi(os.Getenv("COLUMNS"))
	return max(columns, 0)
}
