package find

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// match reports whether a name is what a pattern of the shell describes, as
// fnmatch(3) does with neither FNM_PATHNAME nor FNM_PERIOD: * and ? take
// slashes and leading dots too. A byte that is not UTF-8 counts as a character.
func match(pattern, name string, fold bool) bool {
	// Where to go on if what comes after the last * does not fit: one
	// character of the name later. Those before it need not be tried again.
	starPattern, starName := "", ""
	star := false
	for {
		if pattern != "" && pattern[0] == '*' {
			pattern = pattern[1:]
			star, starPattern, starName = true, pattern, name
			continue
		}
		if pattern == "" && name == "" {
			return true
		}
		if pattern != "" && name != "" {
			if p, n, ok := matchOne(pattern, name, fold); ok {
				pattern, name = p, n
				continue
			}
		}
		if !star || starName == "" {
			return false
		}
		_, size := character(starName)
		starName = starName[size:]
		pattern, name = starPattern, starName
	}
}

// character gives the first one of a string that is not empty. What is not
// UTF-8 gets a number of its own, outside of Unicode.
func character(s string) (rune, int) {
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size == 1 {
		return unicode.MaxRune + 1 + rune(s[0]), 1
	}
	return r, size
}

func folded(r rune, fold bool) rune {
	if fold {
		return unicode.ToLower(r)
	}
	return r
}

// matchOne takes one character of a name with what the pattern has for it.
func matchOne(pattern, name string, fold bool) (patternRest, nameRest string, ok bool) {
	n, size := character(name)
	nameRest = name[size:]
	switch pattern[0] {
	case '?':
		return pattern[1:], nameRest, true
	case '[':
		if in, rest, closed := matchSet(pattern[1:], n, fold); closed {
			return rest, nameRest, in
		}
	case '\\':
		if len(pattern) == 1 {
			return "", "", false
		}
		pattern = pattern[1:]
	}
	p, size := character(pattern)
	return pattern[size:], nameRest, folded(p, fold) == folded(n, fold)
}

// matchSet reads a set up to its "]" and reports whether a character is in it.
// One that is never closed is no set.
func matchSet(set string, n rune, fold bool) (in bool, rest string, closed bool) {
	negated := set != "" && (set[0] == '!' || set[0] == '^')
	if negated {
		set = set[1:]
	}
	n = folded(n, fold)
	for first := true; set != ""; first = false {
		if set[0] == ']' && !first {
			return in != negated, set[1:], true
		}
		if class, after, ok := cutClass(set); ok {
			in = in || class != nil && class(n)
			set = after
			continue
		}
		low, after, ok := setElement(set)
		if !ok {
			return false, "", false
		}
		high := low
		if len(after) > 1 && after[0] == '-' && after[1] != ']' {
			if high, after, ok = setElement(after[1:]); !ok {
				return false, "", false
			}
		}
		in = in || folded(low, fold) <= n && n <= folded(high, fold)
		set = after
	}
	return false, "", false
}

// setElement reads one character of a set.
func setElement(set string) (r rune, rest string, ok bool) {
	if set[0] == '\\' {
		set = set[1:]
	}
	if set == "" {
		return 0, "", false
	}
	r, size := character(set)
	return r, set[size:], true
}

var classes = map[string]func(rune) bool{
	"alnum": func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) },
	"alpha": unicode.IsLetter,
	"blank": func(r rune) bool { return r == ' ' || r == '\t' },
	"cntrl": unicode.IsControl,
	"digit": func(r rune) bool { return r >= '0' && r <= '9' },
	"graph": func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) },
	"lower": unicode.IsLower,
	"print": unicode.IsPrint,
	"punct": func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) },
	"space": unicode.IsSpace,
	"upper": unicode.IsUpper,
	"xdigit": func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
	},
}

// cutClass reads "[:alpha:]"; a class that nobody knows has no members.
func cutClass(set string) (class func(rune) bool, rest string, ok bool) {
	after, ok := strings.CutPrefix(set, "[:")
	if !ok {
		return nil, "", false
	}
	name, rest, ok := strings.Cut(after, ":]")
	return classes[name], rest, ok
}
