package find

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// permTest makes -perm: MODE for exactly these permissions, -MODE for all of
// them, /MODE for any; a mode is octal or as chmod(1) has it ("u+s,g=w").
func permTest(_ *parser, arg string) (test, error) {
	mode := arg
	sign := byte(0)
	if mode != "" && (mode[0] == '-' || mode[0] == '/') {
		sign, mode = mode[0], mode[1:]
	}
	want, err := parseMode(mode)
	if err != nil {
		return nil, err
	}
	return func(f *file) bool {
		has := f.Attr.Mode & 0o7777
		switch sign {
		case '-':
			return has&want == want
		case '/':
			return has&want != 0 || want == 0
		}
		return has == want
	}, nil
}

func parseMode(s string) (uint32, error) {
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o7777 {
			return 0, syntax("not octal, or more than 7777")
		}
		return uint32(n), nil
	}
	mode := uint32(0)
	for clause := range strings.SplitSeq(s, ",") {
		var ok bool
		if mode, ok = adjust(mode, clause); !ok {
			return 0, syntax("must be octal, or as u+s,g=w")
		}
	}
	return mode, nil
}

// The bits that a letter before the operator lets a clause change, and those
// that one after it means.
var (
	whoBits = map[byte]uint32{
		'u': unix.S_ISUID | 0o700, 'g': unix.S_ISGID | 0o070, 'o': unix.S_ISVTX | 0o007, 'a': 0o7777,
	}
	permBits = map[byte]uint32{
		'r': 0o444, 'w': 0o222, 'x': 0o111, 's': unix.S_ISUID | unix.S_ISGID, 't': unix.S_ISVTX,
	}
)

// adjust applies a clause "[ugoa…]op[rwxst…]…" to a mode, with no umask.
func adjust(mode uint32, clause string) (uint32, bool) {
	who := uint32(0)
	for clause != "" && whoBits[clause[0]] != 0 {
		who |= whoBits[clause[0]]
		clause = clause[1:]
	}
	if who == 0 {
		who = 0o7777
	}
	if clause == "" {
		return 0, false
	}
	for clause != "" {
		op := clause[0]
		clause = clause[1:]
		bits := uint32(0)
		for clause != "" && permBits[clause[0]] != 0 {
			bits |= permBits[clause[0]]
			clause = clause[1:]
		}
		switch bits &= who; op {
		case '+':
			mode |= bits
		case '-':
			mode &^= bits
		case '=':
			mode = mode&^who | bits
		default:
			return 0, false
		}
	}
	return mode, true
}
