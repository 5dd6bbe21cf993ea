package container

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// processesBelow gives the processes of a control group and of those below it.
func processesBelow(dir string) (pids []int, err error) {
	err = filepath.WalkDir(dir, func(p string, e iofs.DirEntry, err error) error {
		if err != nil || e.Name() != "cgroup.procs" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, line := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(line); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	slices.Sort(pids)
	return pids, err
}

// ioBytes adds up what was read from devices and written to them: "8:0 Read 4096"
// of version 1, "8:0 rbytes=4096 wbytes=0 …" of version 2.
func ioBytes(path string) (read, wrote int64) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && !strings.Contains(fields[1], "=") {
			fields = []string{fields[0], fields[1] + "=" + fields[2]}
		}
		for _, f := range fields {
			key, value, _ := strings.Cut(f, "=")
			n, _ := strconv.ParseInt(value, 10, 64) // of another field 0
			switch key {
			case "Read", "rbytes":
				read += n
			case "Write", "wbytes":
				wrote += n
			}
		}
	}
	return read, wrote
}
