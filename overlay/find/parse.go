package find

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A SyntaxError says that an expression is none.
type SyntaxError struct{ Msg string }

func (e *SyntaxError) Error() string { return e.Msg }

// Parse reads paths, then an expression. Without a path it starts at "/", an
// expression without an action gets -print. The error is a *SyntaxError, but
// for -newer, whose path may lead nowhere.
func Parse(args []string, env Env) (*Query, error) {
	p := parser{env: env, query: &Query{env: env, maxDepth: math.MaxInt}}
	for len(args) > 0 && !beginsExpr(args[0]) {
		p.query.Paths = append(p.query.Paths, args[0])
		args = args[1:]
	}
	if len(p.query.Paths) == 0 {
		p.query.Paths = []string{"/"}
	}
	p.rest = args
	expr := always
	if len(args) > 0 {
		var err error
		if expr, err = p.or(); err != nil {
			return nil, err
		}
		if len(p.rest) > 0 {
			return nil, syntax("%q without its \"(\"", p.rest[0])
		}
	}
	if !p.acts {
		expr = and(expr, action(Print))
	}
	p.query.expr = expr
	return p.query, nil
}

func beginsExpr(arg string) bool {
	return arg == "(" || arg == ")" || arg == "!" || len(arg) > 1 && arg[0] == '-'
}

func syntax(format string, args ...any) error { return &SyntaxError{fmt.Sprintf(format, args...)} }

// A parser goes down the grammar:
//
//	or    = and { "-o" and }
//	and   = not { [ "-a" ] not }
//	not   = "!" not | "(" or ")" | primary
type parser struct {
	env   Env
	query *Query
	rest  []string
	depth int  // of parentheses and negations
	acts  bool // there is an action
}

// maxDepth bounds the nesting of an expression.
const maxDepth = 1000

func (p *parser) next() (string, bool) {
	if len(p.rest) == 0 {
		return "", false
	}
	word := p.rest[0]
	p.rest = p.rest[1:]
	return word, true
}

// accept takes the next word if it is one of those.
func (p *parser) accept(words ...string) bool {
	for _, w := range words {
		if len(p.rest) > 0 && p.rest[0] == w {
			p.rest = p.rest[1:]
			return true
		}
	}
	return false
}

func (p *parser) or() (test, error) {
	left, err := p.and()
	for err == nil && p.accept("-o", "-or") {
		var right test
		if right, err = p.and(); err == nil {
			left = or(left, right)
		}
	}
	return left, err
}

func (p *parser) and() (test, error) {
	left, err := p.not()
	for err == nil && len(p.rest) > 0 && p.rest[0] != ")" && p.rest[0] != "-o" && p.rest[0] != "-or" {
		p.accept("-a", "-and")
		var right test
		if right, err = p.not(); err == nil {
			left = and(left, right)
		}
	}
	return left, err
}

func (p *parser) not() (test, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, syntax("nested too deeply")
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("!", "-not"):
		t, err := p.not()
		return not(t), err
	case p.accept("("):
		t, err := p.or()
		if err == nil && !p.accept(")") {
			err = syntax("\"(\" without its \")\"")
		}
		return t, err
	}
	return p.primary()
}

func and(a, b test) test { return func(f *file) bool { return a(f) && f.err == nil && b(f) } }
func or(a, b test) test  { return func(f *file) bool { return a(f) || f.err == nil && b(f) } }
func not(a test) test    { return func(f *file) bool { return !a(f) } }
func always(*file) bool  { return true }

func (p *parser) primary() (test, error) {
	word, ok := p.next()
	switch {
	case !ok:
		return nil, syntax("the expression ends too early")
	case word == ")" || word == "-o" || word == "-or" || word == "-a" || word == "-and":
		return nil, syntax("nothing before %q", word)
	}
	if make, ok := plain[word]; ok {
		return make(p), nil
	}
	make, ok := withArg[word]
	if !ok {
		if !beginsExpr(word) {
			return nil, syntax("paths come before the expression: %q", word)
		}
		return nil, syntax("unknown predicate %q", word)
	}
	arg, ok := p.next()
	if !ok {
		return nil, syntax("%s needs an argument", word)
	}
	t, err := make(p, arg)
	if bad, ok := err.(*SyntaxError); ok {
		return nil, syntax("%s %s: %s", word, arg, bad.Msg)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", word, arg, err)
	}
	return t, nil
}

// A number is what "N", "+N" and "-N" ask for.
type number struct {
	sign byte // '+' more, '-' less, 0 exactly
	n    int64
}

func parseNumber(s string) (number, error) {
	var want number
	if s != "" && (s[0] == '+' || s[0] == '-') {
		want.sign, s = s[0], s[1:]
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return want, syntax("must be a number N, +N for more or -N for less")
	}
	want.n = int64(n)
	return want, nil
}

func (want number) is(n int64) bool {
	switch want.sign {
	case '+':
		return n > want.n
	case '-':
		return n < want.n
	}
	return n == want.n
}

// numeric makes a test of a number of a file.
func numeric(of func(f *file) int64) func(*parser, string) (test, error) {
	return func(_ *parser, arg string) (test, error) {
		want, err := parseNumber(arg)
		return func(f *file) bool { return want.is(of(f)) }, err
	}
}

// depth parses the argument of -mindepth and -maxdepth.
func depth(arg string, into *int) (test, error) {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil {
		return nil, syntax("must be a number")
	}
	*into = int(n)
	return always, nil
}

// owner parses the argument of -user and -group: a name of the image, else a number.
func owner(arg string, names func(string) (uint32, bool), of func(f *file) uint32) (test, error) {
	if names != nil {
		if id, ok := names(arg); ok {
			return func(f *file) bool { return of(f) == id }, nil
		}
	}
	id, err := strconv.ParseUint(arg, 10, 32)
	if err != nil {
		return nil, syntax("the image has no such name")
	}
	return func(f *file) bool { return of(f) == uint32(id) }, nil
}

// sizeUnits are those of -size, in bytes.
var sizeUnits = map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}

// sizeTest makes -size: sizes are rounded up to whole units before they are
// compared, so that -size -1M is an empty file.
func sizeTest(_ *parser, arg string) (test, error) {
	unit := int64(512)
	digits := arg
	if arg != "" {
		if u, ok := sizeUnits[arg[len(arg)-1]]; ok {
			unit, digits = u, arg[:len(arg)-1]
		}
	}
	want, err := parseNumber(digits)
	if err != nil {
		return nil, syntax("must be N, +N or -N, then c for bytes, k, M or G")
	}
	return func(f *file) bool {
		units := f.Attr.Size / unit
		if f.Attr.Size%unit > 0 {
			units++
		}
		return want.is(units)
	}, nil
}

// typeTest makes -type: letters with commas between.
func typeTest(_ *parser, arg string) (test, error) {
	kinds := map[uint32]bool{}
	for letter := range strings.SplitSeq(arg, ",") {
		kind, ok := kindOf[letter]
		if !ok {
			return nil, syntax("must be of b, c, d, f, l, p, s, with commas between")
		}
		kinds[kind] = true
	}
	return func(f *file) bool { return kinds[f.kind()] }, nil
}
