package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the Makefile (-ldflags -X).
var version = "devel"

func newVersion(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Tell the version of mica",
		Example: `  mica version
  mica info        # with all settings`,
		RunE: func(*cobra.Command, []string) error { return printVersion(std) },
	}
}

func printVersion(std streams) error {
	_, err := fmt.Fprintf(std.out, "mica %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
