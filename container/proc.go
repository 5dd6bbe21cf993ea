package container

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A Proc is a process by number, start and boot: the number alone may have been
// given to another since.
type Proc struct {
	Pid   int
	Start uint64 // clock ticks since boot
	Boot  string // of which boot
}

// bootID tells this boot of the machine from others.
var bootID = sync.OnceValue(func() string {
	// Where there is none, numbers and times have to do.
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})

// Alive reports whether it is there still; one that has ended and is not waited
// for is not.
func (p Proc) Alive() bool {
	if p.Pid == 0 || p.Boot != bootID() {
		return false
	}
	start, err := startOf(p.Pid)
	return err == nil && start == p.Start
}

// signal sends it a signal, and never another process that has its number.
func (p Proc) signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// open gives a pidfd, which can be read once the process has ended. ESRCH is
// that it has.
func (p Proc) open() (int, error) {
	if p.Pid <= 0 {
		return -1, unix.ESRCH // there is none yet, or any more
	}
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		return -1, err
	}
	if !p.Alive() { // asked now that the number cannot go to another
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// startOf reads when a process began (proc(5), field 22 of stat).
func startOf(pid int) (uint64, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	// The second field is a name in brackets that may have some itself.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("%s: %d fields", name, len(fields))
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return 0, fmt.Errorf("%s: state %s", name, state)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
