package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"
)

// An outputFormat is how a command prints what it lists.
type outputFormat struct {
	how       choice // "table" or "json"
	noHeading bool
}

func (f *outputFormat) add(flags *pflag.FlagSet) {
	addChoice(flags, &f.how, "format", "what to print", "table", "json")
	flags.BoolVarP(&f.noHeading, "noheading", "n", false, "leave out the heads of the columns")
}

func (f *outputFormat) json() bool { return f.how.word == "json" }

// A row is one thing that is listed. Encoded as JSON it has all that is known
// of it, sizes in bytes and times by RFC 3339; cells has what fits a table.
type row interface{ cells() []string }

// printRows lists rows: as a table, or as a JSON array.
func printRows[R row](w io.Writer, format outputFormat, head []string, rows []R) error {
	if format.json() {
		return printJSON(w, rows)
	}
	var lines [][]string
	if !format.noHeading {
		lines = append(lines, head)
	}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	return printTable(w, lines)
}

// printJSON prints a value as people and programs can read it. A slice must
// not be nil: a list is never null.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// ago is a time as docker prints it: "3 weeks ago".
func ago(t time.Time) string { return units.HumanDuration(time.Since(t)) + " ago" }
