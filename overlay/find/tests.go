package find

import (
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// plain are the words that stand alone.
var plain = map[string]func(*parser) test{
	"-empty":  func(p *parser) test { return p.empty },
	"-prune":  func(*parser) test { return func(f *file) bool { f.prune = true; return true } },
	"-print":  acts(Print),
	"-print0": acts(Print0),
	"-ls":     acts(List),
}

// withArg are the words that an argument follows.
var withArg = map[string]func(p *parser, arg string) (test, error){
	"-name":  func(_ *parser, arg string) (test, error) { return name(arg, false), nil },
	"-iname": func(_ *parser, arg string) (test, error) { return name(arg, true), nil },
	"-path": func(_ *parser, arg string) (test, error) {
		return func(f *file) bool { return match(arg, f.Path, false) }, nil
	},
	"-ipath": func(_ *parser, arg string) (test, error) {
		return func(f *file) bool { return match(arg, f.Path, true) }, nil
	},
	"-type":  typeTest,
	"-size":  sizeTest,
	"-perm":  permTest,
	"-links": numeric(func(f *file) int64 { return int64(f.Attr.Nlink) }),
	"-inum":  numeric(func(f *file) int64 { return int64(f.Attr.ID) }),
	"-uid":   numeric(func(f *file) int64 { return int64(f.Attr.UID) }),
	"-gid":   numeric(func(f *file) int64 { return int64(f.Attr.GID) }),
	"-user": func(p *parser, arg string) (test, error) {
		return owner(arg, p.env.User, func(f *file) uint32 { return f.Attr.UID })
	},
	"-group": func(p *parser, arg string) (test, error) {
		return owner(arg, p.env.Group, func(f *file) uint32 { return f.Attr.GID })
	},
	"-mtime":    mtimeTest,
	"-newer":    newerTest,
	"-mindepth": func(p *parser, arg string) (test, error) { return depth(arg, &p.query.minDepth) },
	"-maxdepth": func(p *parser, arg string) (test, error) { return depth(arg, &p.query.maxDepth) },
}

var kindOf = map[string]uint32{
	"b": unix.S_IFBLK, "c": unix.S_IFCHR, "d": unix.S_IFDIR, "f": unix.S_IFREG,
	"l": unix.S_IFLNK, "p": unix.S_IFIFO, "s": unix.S_IFSOCK,
}

func (f *file) kind() uint32 { return f.Attr.Mode & unix.S_IFMT }

func acts(a Action) func(*parser) test {
	return func(p *parser) test {
		p.acts = true
		return action(a)
	}
}

func action(a Action) test {
	return func(f *file) bool {
		f.err = f.act(a, f.Visit)
		return f.err == nil
	}
}

func name(pattern string, fold bool) test {
	return func(f *file) bool { return match(pattern, f.Name, fold) }
}

// empty is -empty: a regular file of no bytes, a directory of no names.
func (p *parser) empty(f *file) bool {
	switch f.kind() {
	case unix.S_IFREG:
		return f.Attr.Size == 0
	case unix.S_IFDIR:
		empty := true
		err := p.env.Tree.ReadDir(f.Attr.ID, 0, func(string, overlay.NodeID, uint64) bool {
			empty = false
			return false
		})
		if err != nil {
			return f.fail(err)
		}
		return empty
	}
	return false
}

// mtimeTest makes -mtime: ages in whole days, what is left of one dropped.
func mtimeTest(p *parser, arg string) (test, error) {
	want, err := parseNumber(arg)
	if err != nil {
		return nil, err
	}
	now, nsec := p.env.Now.Unix(), uint32(p.env.Now.Nanosecond())
	return func(f *file) bool {
		const day = 24 * 60 * 60
		age := now - f.Attr.Mtime.Sec
		if f.Attr.Mtime.Nsec > nsec {
			age--
		}
		days := age / day
		if age%day < 0 { // in the future
			days--
		}
		return want.is(days)
	}, nil
}

// newerTest makes -newer: modified after another file of the image.
func newerTest(p *parser, arg string) (test, error) {
	a, err := p.env.Tree.Lstat(arg)
	if err != nil {
		return nil, err
	}
	than := a.Mtime
	return func(f *file) bool {
		t := f.Attr.Mtime
		return t.Sec > than.Sec || t.Sec == than.Sec && t.Nsec > than.Nsec
	}, nil
}
