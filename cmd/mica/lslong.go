package main

import (
	"bufio"
	"fmt"
	"strconv"
	"time"
)

// A longLine is what ls -l tells of a file, as text.
type longLine struct {
	mode, nlink, owner, group    string
	size                         string // of a device "", with its number in
	major, minor                 string
	ownerIsNumber, groupIsNumber bool
	time, name                   string
}

func (l *lister) putLong(w *bufio.Writer, g lsGroup) error {
	lines := make([]longLine, len(g.files))
	var nlink, owner, group, size, major, minor int // widths
	blocks := int64(0)
	for i, f := range g.files {
		line, err := l.longLine(f)
		if err != nil {
			return err
		}
		lines[i] = line
		blocks += f.attr.Blocks
		nlink, owner, group = max(nlink, len(line.nlink)), max(owner, len(line.owner)), max(group, len(line.group))
		size, major, minor = max(size, len(line.size)), max(major, len(line.major)), max(minor, len(line.minor))
	}
	if major > 0 {
		size = max(size, major+len(", ")+minor)
	}
	if g.isDir {
		total := strconv.FormatInt((blocks+1)/2, 10) // in KiB
		if l.human {
			total = humanSize(blocks * 512)
		}
		fmt.Fprintf(w, "total %s\n", total)
	}
	for _, line := range lines {
		if line.size == "" {
			line.size = fmt.Sprintf("%s, %*s", line.major, minor, line.minor)
		}
		fmt.Fprintf(w, "%s %*s %*s %*s %*s %s %s\n", line.mode, nlink, line.nlink,
			side(owner, line.ownerIsNumber), line.owner, side(group, line.groupIsNumber), line.group, size, line.size, line.time, line.name)
	}
	return nil
}

// side gives the width for what stands on the right of its column, or the left.
func side(width int, right bool) int {
	if right {
		return width
	}
	return -width
}

func (l *lister) longLine(f listed) (longLine, error) {
	a := f.attr
	line := longLine{
		mode: modeString(a.Mode), nlink: strconv.FormatUint(uint64(a.Nlink), 10),
		owner: l.names.user(a.UID), group: l.names.group(a.GID),
		time: listTime(a.Mtime.Time(), l.now), name: nameFor(l.terminal, f.name),
	}
	_, named := l.names.users[a.UID]
	line.ownerIsNumber = !named
	_, named = l.names.groups[a.GID]
	line.groupIsNumber = !named
	switch {
	case isDevice(a):
		major, minor := a.Device()
		line.major, line.minor = strconv.Itoa(int(major)), strconv.Itoa(int(minor))
	case l.human:
		line.size = humanSize(a.Size)
	default:
		line.size = strconv.FormatInt(a.Size, 10)
	}
	if isSymlink(a) {
		target, err := l.view.Readlink(a.ID)
		if err != nil {
			return line, err
		}
		line.name += " -> " + nameFor(l.terminal, target)
	}
	return line, nil
}

// halfYear is where ls -l goes from the time of day to the year: half of a mean
// Gregorian year.
const halfYear = 31556952 * time.Second / 2

// listTime gives a time as ls -l does, 12 columns wide.
func listTime(t, now time.Time) string {
	t = t.Local()
	if t.After(now) || !t.After(now.Add(-halfYear)) {
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
}
