package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// programs are those whose versions matter, and how to ask.
var programs = []struct{ about, command string }{
	{"mica", "mica version | head -1"},
	{"umoci", "umoci --version"},
	{"podman", "podman --version"},
	{"igzip", "igzip --version"},
	{"tar", "tar --version | head -1"},
	{"find", "find --version | head -1"},
	{"grep", "grep --version | head -1"},
}

// facts tells what the figures depend on.
func (l *lab) facts() []fact {
	facts := []fact{
		{"processor", fmt.Sprintf("%d × %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"))},
		{"memory", field("/proc/meminfo", "MemTotal")},
		{"kernel", release()},
		{"file system", l.fileSystem()},
		{"load at the end", strings.Join(strings.Fields(content("/proc/loadavg"))[:3], " ") + " (1, 5 and 15 minutes)"},
		{"Go", runtime.Version()},
	}
	for _, p := range programs {
		cmd := exec.Command("sh", "-c", p.command)
		cmd.Env = l.env("")
		out, err := cmd.Output()
		if is := strings.TrimSpace(string(out)); err == nil && is != "" {
			facts = append(facts, fact{p.about, is})
		}
	}
	return facts
}

// fileSystem is the type of what scratch lies on.
func (l *lab) fileSystem() string {
	out, err := exec.Command("findmnt", "-n", "-o", "FSTYPE", "-T", l.dir).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// field gives what a file of /proc says after a name and a colon.
func field(path, name string) string {
	for line := range strings.Lines(content(path)) {
		if key, is, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(is), " ")
		}
	}
	return "unknown"
}

func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}
