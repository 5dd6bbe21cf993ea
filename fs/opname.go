package fs

import "fmt"

// opNames are the kinds of request of <linux/fuse.h> that a read-only mount gets.
var opNames = [...]string{
	1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 4: "SETATTR", 5: "READLINK", 14: "OPEN", 15: "READ",
	17: "STATFS", 18: "RELEASE", 20: "FSYNC", 22: "GETXATTR", 23: "LISTXATTR", 25: "FLUSH",
	26: "INIT", 27: "OPENDIR", 28: "READDIR", 29: "RELEASEDIR", 34: "ACCESS", 36: "INTERRUPT",
	38: "DESTROY", 39: "IOCTL", 40: "POLL", 42: "BATCH_FORGET", 44: "READDIRPLUS", 46: "LSEEK",
	50: "SYNCFS", 52: "STATX",
}

func opName(op int) string {
	if op < len(opNames) && opNames[op] != "" {
		return opNames[op]
	}
	return fmt.Sprintf("OPCODE_%d", op)
}
