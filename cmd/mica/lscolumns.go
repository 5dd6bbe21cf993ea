package main

import (
	"bufio"
	"strings"
	"unicode/utf8"
)

// putColumns prints names down, then across, in as many columns as fit the
// width, as ls(1) does on a terminal.
func putColumns(w *bufio.Writer, width int, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if width == 0 {
		width = 80
	}
	lens := make([]int, len(names))
	for i, name := range names {
		lens[i] = utf8.RuneCountInString(name)
	}
	rows, widths := fit(lens, width)
	for row := range rows {
		for col, i := 0, row; i < len(names); col, i = col+1, i+rows {
			w.WriteString(names[i])
			if i+rows < len(names) {
				w.WriteString(strings.Repeat(" ", widths[col]-lens[i]))
			}
		}
		w.WriteByte('\n')
	}
	return nil
}

// gap is what lies between two columns.
const gap = 2

// fit gives the least number of rows in which entries of these lengths fit a
// width, and the widths of the columns, gap included.
func fit(lens []int, width int) (rows int, widths []int) {
	// A column is at least one character and a gap wide.
	for columns := min(len(lens), max(1, width/(1+gap))); ; columns-- {
		rows = (len(lens) + columns - 1) / columns
		widths = widths[:0]
		sum := 0
		for i := 0; i < len(lens); i += rows {
			most := 0
			for _, n := range lens[i:min(i+rows, len(lens))] {
				most = max(most, n)
			}
			sum += most + gap
			widths = append(widths, most+gap)
		}
		if sum-gap < width || columns == 1 {
			return rows, widths
		}
	}
}
