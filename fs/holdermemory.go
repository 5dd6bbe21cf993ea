package fs

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// holderMemory is how many bytes of memory a holder lets Go have before it
// collects garbage at each allocation.
const holderMemory = 2 << 20

// shrink gives back the memory that was needed to get here: garbage, and pages
// of the program that were run through once. What is needed again the kernel
// maps again, out of the page cache.
func shrink() {
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var may, off, device string
		var inode uint64
		// proc_pid_maps(5). What may be written can be unlike the file.
		_, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &may, &off, &device, &inode)
		if err == nil && may[1] == '-' && strings.HasSuffix(line, " "+exe+"\n") {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
