package main

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// How files are told to people, in the forms that they know from ls(1), find(1)
// and stat(1).

// modeString gives "drwxr-xr-x".
func modeString(mode uint32) string {
	s := []byte("?rwxrwxrwx")
	s[0] = typeLetter(mode)
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			s[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit      uint32
		at       int
		with, no byte // with the execute bit, and without
	}{{unix.S_ISUID, 3, 's', 'S'}, {unix.S_ISGID, 6, 's', 'S'}, {unix.S_ISVTX, 9, 't', 'T'}} {
		if mode&special.bit == 0 {
			continue
		}
		if s[special.at] == 'x' {
			s[special.at] = special.with
		} else {
			s[special.at] = special.no
		}
	}
	return string(s)
}

// typeLetter is that of ls -l.
func typeLetter(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return '-'
	case unix.S_IFDIR:
		return 'd'
	case unix.S_IFLNK:
		return 'l'
	case unix.S_IFCHR:
		return 'c'
	case unix.S_IFBLK:
		return 'b'
	case unix.S_IFIFO:
		return 'p'
	}
	return '?'
}

// typeWord is for programs.
func typeWord(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFCHR:
		return "char-device"
	case unix.S_IFBLK:
		return "block-device"
	case unix.S_IFIFO:
		return "fifo"
	}
	return "unknown"
}

func isDir(a overlay.Attr) bool     { return a.Mode&unix.S_IFMT == unix.S_IFDIR }
func isSymlink(a overlay.Attr) bool { return a.Mode&unix.S_IFMT == unix.S_IFLNK }
func isRegular(a overlay.Attr) bool { return a.Mode&unix.S_IFMT == unix.S_IFREG }
func isDevice(a overlay.Attr) bool {
	kind := a.Mode & unix.S_IFMT
	return kind == unix.S_IFCHR || kind == unix.S_IFBLK
}

// humanSize gives a size as ls -h does: rounded up, two digits at least.
func humanSize(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	bytes, unit, unitLen := uint64(n), 0, uint64(1024)
	for unit < len(units)-1 && bytes > 1023*unitLen {
		unit, unitLen = unit+1, unitLen<<10
	}
	// In tenths while that is one digit before the point, as whole ones after.
	if tenths := bytes/unitLen*10 + (bytes%unitLen*10+unitLen-1)/unitLen; tenths < 100 {
		return fmt.Sprintf("%d.%d%c", tenths/10, tenths%10, units[unit])
	}
	return fmt.Sprintf("%d%c", (bytes+unitLen-1)/unitLen, units[unit])
}

// nameFor gives a name or a path in the form that is safe to print on out:
// byte by byte for a file or a program, and nothing that a terminal obeys.
func nameFor(terminal bool, name string) string {
	if terminal {
		return printable(name)
	}
	return name
}

// octal gives the permissions as chmod(1) has them: "0755".
func octal(mode uint32) string { return fmt.Sprintf("%04o", mode&0o7777) }
