package main

import (
	"fmt"
	"strings"
)

// pass is one over a whole tree, at $T. tar writes to /dev/zero, as to /dev/null it
// reads no contents; grep says 1 if nothing is found.
var passes = map[string]string{
	"find": "find $T/ -ls",
	"tar":  "tar c -C $T . >/dev/zero",
	"grep": "grep -r 'no such words' $T/ || [ $? = 1 ]",
}

// warmRows are about what the kernel has in its caches: each timed pass follows
// another one at once.
func warmRows() (all []row) {
	for _, name := range []string{"find", "tar", "grep"} {
		pass := passes[name]
		all = append(all, row{
			name:   "warm-" + name,
			what:   "warm " + pass[:strings.IndexByte(pass, '$')] + "of the image, against the kernel's overlayfs over the unpacked layers",
			images: []string{"app", "big"},
			setup:  "overlay; remount $REF",
			sides: []side{
				{name: "mica", before: "T=$M; { " + pass + "; } >/dev/null", run: pass},
				{name: "overlayfs", before: "T=$DIR/o-$IMAGE; { " + pass + "; } >/dev/null", run: pass},
			},
			bars: []bar{{of: share, limit: 1.05, aim: .95}},
		})
	}
	largest := "set -- $(find $M -type f -printf '%s %P\\n' | sort -n | tail -1 | cut -d' ' -f2-); "
	return append(all, row{
		name:    "requests",
		what:    "requests that a second pass of find -ls and tar c sends to the server",
		images:  []string{"app", "big"},
		compare: requests,
		sides:   []side{{name: "mica", command: "find $M/ -ls; tar c -C $M . >/dev/zero; what mica stats counts during a second time"}},
		bars:    []bar{{of: value, limit: 0}},
		note:    "FORGET and BATCH_FORGET among the requests say that someone had the kernel drop its caches in that pass. find asks once for the file system's type (STATFS), which the kernel keeps of no FUSE server: 1 is the least there can be.",
	}, row{
		name:   "large",
		what:   "the largest file of the image, eight times, warm, against a directory",
		images: []string{"big"},
		runs:   9,
		setup:  "unpacked; remount $REF",
		sides: []side{
			{name: "mica", before: largest + "f=$M/$1; cat $f >/dev/null", run: "cat $f $f $f $f $f $f $f $f"},
			{name: "ext4", before: largest + "f=$DIR/u-$IMAGE/$1; cat $f >/dev/null", run: "cat $f $f $f $f $f $f $f $f"},
		},
		bars: []bar{{of: speedup, limit: .9, aim: 1}},
		note: "No request is sent: all is between cat and the page cache, in which Linux 6.18 keeps files of FUSE by single pages, and those of ext4 by folios of up to 256 KiB (tracepoint mm_filemap_add_to_page_cache: order 0 against up to 6). perf: of .16 s 16 % are filemap_get_read_batch, which finds the pages, 76 % copying them 4 KiB at a time; of ext4's .12 s 2 % and 91 %. Passthrough would need a file that has the bytes as they are, an OPEN for each file, and one of the two levels that file systems may be stacked in.",
	})
}

// requests counts those of a second pass.
func requests(l *lab, r *row) (all []comparison, err error) {
	for _, image := range r.images {
		pass := "T=$M; { " + passes["find"] + "; " + passes["tar"] + "; } >/dev/null\n"
		if _, err := l.bash(image, "remount $REF\n"); err != nil {
			return all, err
		}
		s, kinds := sample{name: "mica"}, map[string]int{}
		for range l.runs {
			if err := l.ctx.Err(); err != nil {
				return all, err
			}
			if _, err := l.bash(image, pass); err != nil {
				return all, err
			}
			before, err := l.stats()
			if err != nil {
				return all, err
			}
			if _, err := l.bash(image, pass); err != nil {
				return all, err
			}
			after, err := l.stats()
			if err != nil {
				return all, err
			}
			sent := after.since(before)
			total := 0
			for kind, n := range sent {
				kinds[kind] += n
				total += n
			}
			s.runs = append(s.runs, float64(total))
		}
		fmt.Fprintf(l.log, "%s %s: %v, %v\n", r.name, image, s.runs, kinds)
		all = append(all, comparison{about: image, unit: count, samples: []sample{s}, bars: r.bars,
			detail: fmt.Sprintf("in %d passes together %v", len(s.runs), kinds)})
	}
	return all, nil
}

// A serverStats is of what mica stats tells what is measured here.
type serverStats struct {
	PID      int
	Requests []struct {
		Kind  string
		Count int
	}
}

// since gives how many requests of each kind there were since before.
func (s *serverStats) since(before *serverStats) map[string]int {
	sent := map[string]int{}
	for _, r := range s.Requests {
		sent[r.Kind] += r.Count
	}
	for _, r := range before.Requests {
		if sent[r.Kind] -= r.Count; sent[r.Kind] == 0 {
			delete(sent, r.Kind)
		}
	}
	return sent
}

func (l *lab) stats() (*serverStats, error) {
	s := &serverStats{}
	return s, l.micaJSON(s, "stats --format json $M")
}

// micaJSON runs mica and reads what it prints.
func (l *lab) micaJSON(v any, args string) error {
	out, err := l.bash("", "mica "+args+" >&3\n")
	if err != nil {
		return err
	}
	return decodeJSON(strings.NewReader(out), v)
}
