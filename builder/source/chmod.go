package source

import (
	"fmt"
	"strconv"
	"strings"

	"mica/layerstore/toc"
)

// ParseMode reads what --chmod takes: an octal number, or changes as chmod(1)
// has them (u+rwX,go-w,+x).
func ParseMode(text string) (func(toc.Entry) uint16, error) {
	if n, err := strconv.ParseUint(text, 8, 32); err == nil && n <= 0o7777 {
		return func(toc.Entry) uint16 { return uint16(n) }, nil
	}
	var changes []modeChange
	for _, clause := range strings.Split(text, ",") {
		c, err := parseClause(clause)
		if err != nil {
			return nil, fmt.Errorf("--chmod=%s: neither octal, up to 7777, nor changes such as u+rwX,go-w", text)
		}
		changes = append(changes, c...)
	}
	return func(e toc.Entry) uint16 {
		mode := e.Mode
		for _, c := range changes {
			mode = c.apply(mode, e.Type == toc.Dir)
		}
		return mode
	}, nil
}

// A modeChange is one operator with what is left and right of it.
type modeChange struct {
	who  string // of "ugo"
	op   byte   // + - =
	perm string // of "rwxXst", or one of "ugo"
}

var errClause = fmt.Errorf("not right")

func parseClause(clause string) ([]modeChange, error) {
	at := strings.IndexAny(clause, "+-=")
	if at < 0 || strings.Trim(clause[:at], "ugoa") != "" {
		return nil, errClause
	}
	who := strings.ReplaceAll(clause[:at], "a", "ugo")
	if who == "" {
		who = "ugo"
	}
	var changes []modeChange
	for rest := clause[at:]; rest != ""; {
		op := rest[0]
		rest = rest[1:]
		end := strings.IndexAny(rest, "+-=")
		if end < 0 {
			end = len(rest)
		}
		perm := rest[:end]
		if rest = rest[end:]; strings.Trim(perm, "rwxXst") != "" && !(len(perm) == 1 && strings.Contains("ugo", perm)) {
			return nil, errClause
		}
		changes = append(changes, modeChange{who, op, perm})
	}
	return changes, nil
}

// shifts are where the three bits of each class are.
var shifts = map[rune]uint{'u': 6, 'g': 3, 'o': 0}

func (c modeChange) apply(mode uint16, dir bool) uint16 {
	var bits, of uint16 // what is set or cleared; what "=" clears
	for _, who := range c.who {
		shift := shifts[who]
		of |= 7 << shift
		for _, p := range c.perm {
			switch p {
			case 'r':
				bits |= 4 << shift
			case 'w':
				bits |= 2 << shift
			case 'x':
				bits |= 1 << shift
			case 'X':
				if dir || mode&0o111 != 0 {
					bits |= 1 << shift
				}
			case 's':
				if who != 'o' {
					bits |= 0o1000 << (shift / 3)
				}
			case 't':
				bits |= 0o1000
			case 'u', 'g', 'o':
				bits |= mode >> shifts[p] & 7 << shift
			}
		}
		of |= 0o1000 << (shift / 3) // setuid, setgid, sticky
	}
	switch c.op {
	case '+':
		return mode | bits
	case '-':
		return mode &^ bits
	}
	return mode&^of | bits
}
