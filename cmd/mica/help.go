package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newHelp gives "mica help", which is the same as --help.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Tell about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// help prints what a command is for, and ends in examples that work as typed.
func help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimSpace(about), cmd.UseLine())
	for _, g := range cmd.Groups() {
		fmt.Fprintf(w, "\n%s\n", g.Title)
		for _, c := range cmd.Commands() {
			if c.GroupID == g.ID {
				fmt.Fprintf(w, "  %-*s %s\n", c.NamePadding(), c.Name(), c.Short)
			}
		}
	}
	helpFlags(w, "Flags", cmd.LocalFlags())
	helpFlags(w, "Flags of every command", cmd.InheritedFlags())
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
}

// flagColumn is where the text of a flag starts; one that is longer has its
// text on the next line.
const flagColumn = 27

// helpFlags prints flags with what they do, as wide as the terminal.
func helpFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	room := 80
	if columns := width(w); columns > 0 {
		room = columns
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		if f.Shorthand == "" {
			value = fmt.Sprintf("      --%s %s", f.Name, value)
		} else {
			value = fmt.Sprintf("  -%s, --%s %s", f.Shorthand, f.Name, value)
		}
		lines := wrap(text, max(room-flagColumn, 30))
		if value = strings.TrimRight(value, " "); len(value) > flagColumn-2 {
			lines = slices.Insert(lines, 0, "")
		}
		for i, line := range lines {
			if i > 0 {
				value = ""
			}
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-*s%s", flagColumn, value, line), " "))
		}
	})
}

// wrap breaks a text between words into lines of at most so many bytes.
func wrap(text string, room int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > room {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
