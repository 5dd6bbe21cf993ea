package main

import (
	"fmt"
	"io"
	"os"
)

// applets are the programs of the demonstration image: mica itself under other
// names, as the image has nothing else in it that runs.
var applets = map[string]func(args []string, std streams) int{
	"hello": hello,
	"ls":    listNames,
	"cat":   catFiles,
}

func hello(_ []string, std streams) int {
	fmt.Fprintln(std.out, "Hello! I am a program inside the image, and was decompressed as I was started.")
	return 0
}

// listNames prints the names in directories, one a line.
func listNames(dirs []string, std streams) int {
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	return each(dirs, std, func(dir string) error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			fmt.Fprintln(std.out, e.Name())
		}
		return err
	})
}

// catFiles prints files.
func catFiles(files []string, std streams) int {
	return each(files, std, func(name string) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(std.out, f)
		return err
	})
}

func each(names []string, std streams, do func(name string) error) (status int) {
	for _, name := range names {
		if err := do(name); err != nil {
			fmt.Fprintln(std.err, err)
			status = exitFailed
		}
	}
	return status
}
