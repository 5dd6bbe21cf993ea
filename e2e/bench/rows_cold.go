package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// coldRows are about what nobody has in memory: the image has its index, the
// server is new, and the caches were dropped.
func coldRows() []row {
	find, tar := passes["find"], passes["tar"]
	files := "set -- $(find $M -type f -printf '%s %p\\n' | sort -n | tail -8 | cut -d' ' -f2-); remount $REF; cold"
	return []row{
		{
			name:   "cold-find",
			what:   "cold find -ls, against the kernel's overlayfs",
			images: []string{"app", "big"},
			setup:  "overlay; remount $REF",
			sides: []side{
				{name: "mica", before: "T=$M; remount $REF; cold", run: find},
				{name: "overlayfs", before: "T=$DIR/o-$IMAGE; cold", run: find},
			},
			bars: []bar{{of: share, limit: 1.8, aim: 1.2}},
		},
		{
			name:    "cold-tar",
			what:    "cold tar c of the whole image, against unpacking and tar c",
			images:  []string{"big"},
			setup:   "remount $REF",
			compare: coldTar,
			sides: []side{
				{name: "mica, mounted before", before: "T=$M; remount $REF; cold", run: tar},
				{name: "umoci", before: "T=$F/u; fresh; cold", run: "umoci raw unpack --image $IMAGES/oci:$IMAGE $T; " + tar},
				{name: "mica, never seen", before: "T=$M; mica umount $M; rm -rf $MICA_ROOT; cold", run: "mica mount $REF $M; " + tar},
			},
			bars: []bar{{of: speedup, limit: 1.5, aim: 3}},
		},
		{
			name:    "random",
			what:    "1,000 reads of 4 KiB at random in the layer of 504 MB of gzip (1.4 GB), cold",
			compare: randomReads,
			sides:   []side{{name: "mica", before: "mica mount --only 3 oci:$IMAGES/oci:big $M; cold", command: "open, pread of 4 KiB, close, for 1,000 places"}},
		},
		{
			name:   "small",
			what:   "cold tar c of 20,000 small files of an uncompressed archive, against a directory, warm",
			images: []string{"small"},
			runs:   7,
			setup:  "[ -e $DIR/small ] || { mkdir $DIR/small; tar xf $DIR/small.tar -C $DIR/small; }; remount $REF",
			sides: []side{
				{name: "mica", before: "T=$M; remount $REF; cold", run: tar},
				{name: "ext4", before: "T=$DIR/small; " + tar, run: tar},
			},
			bars: []bar{{of: share, limit: 3, aim: 2}},
			note: "What is left is one after the other: tar's own .10 s (.07 over ext4; it looks at each file for the first time), the server's .16 for 20,000 stores into the page cache (5.5 µs each in the kernel, for a page, its lock and the copy, and 2.5 to read and check it), and 460 requests of 40 µs. Stores beside the reader would take a tenth of a second off, but meet the locks of its pages, for which the kernel waits whatever signal comes; by two threads before the reply they gained nothing where others use the machine.",
		},
		{
			name:   "readers",
			what:   "16 MiB of each of 8 files by 8 readers at once, cold, against one reader after another",
			images: []string{"big"},
			runs:   7,
			setup:  "remount $REF",
			sides: []side{
				{name: "8 readers", before: files, run: "for f; do head -c 16M $f & done; wait"},
				{name: "1 reader", before: files, run: "for f; do head -c 16M $f; done"},
			},
			bars: []bar{{of: speedup, limit: 1.7}},
			note: "One reader has the kernel read ahead and mica decode beside it. The server takes .43 s of processor time for the 150 MB either way (158 MB are decoded; .29 s in its own code, .14 in the kernel), the readers .1 s: with both processors in use all the time that is .27 s, and one reader alone, at .37 s on a machine by itself, leaves 1.4 times to gain. 8 readers at .30 s use nine tenths of the two.",
		},
	}
}

// coldTar compares mounts of both ages with one unpacking.
func coldTar(l *lab, r *row) (all []comparison, err error) {
	for _, image := range r.images {
		if err := l.prepare(r, image); err != nil {
			return all, err
		}
		s, err := l.alternate(r, image, r.sides)
		if err != nil {
			return all, err
		}
		all = append(all,
			comparison{about: image + ", never seen", samples: []sample{s[2], s[1]}, bars: r.bars},
			comparison{about: image + ", mounted before", samples: []sample{s[0], s[1]}, bars: r.bars})
	}
	return all, nil
}

// randomReads reads at random from all files of a layer, as often of each as it
// is large.
func randomReads(l *lab, r *row) ([]comparison, error) {
	p50, p99 := sample{name: "mica"}, sample{name: "mica"}
	for round := range l.runs {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := l.bash("", "if mountpoint -q $M; then mica umount $M; fi; "+r.sides[0].before+"\n"); err != nil {
			return nil, err
		}
		took, err := readRandom(l.mount(), 1000, uint64(round))
		if err != nil {
			return nil, err
		}
		p50.runs = append(p50.runs, percentile(took, 50))
		p99.runs = append(p99.runs, percentile(took, 99))
		fmt.Fprintf(l.log, "%s: p50 %s, p99 %s\n", r.name, seconds.print(percentile(took, 50)), seconds.print(percentile(took, 99)))
	}
	_, err := l.bash("", "mica umount $M\n")
	return []comparison{
		{about: "half (p50)", samples: []sample{p50}, bars: []bar{{of: value, limit: .004, aim: .002}}},
		{about: "all but 10 (p99)", samples: []sample{p99}, bars: []bar{{of: value, limit: .015}}},
	}, err
}

// readRandom reads 4 KiB at n random places in the files below root, each byte
// being as likely as any other, and gives how many seconds each read took.
func readRandom(root string, n int, seed uint64) (took []float64, err error) {
	var paths []string
	var ends []int64 // of each file, if they lay one after another
	total := int64(0)
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err != nil || st.Size() == 0 {
			return err
		}
		total += st.Size()
		paths, ends = append(paths, p), append(ends, total)
		return nil
	})
	if err == nil && total == 0 {
		err = fmt.Errorf("%s: nothing to read", root)
	}
	if err != nil {
		return nil, err
	}
	rnd := rand.New(rand.NewPCG(3, seed))
	b := make([]byte, 4096)
	for range n {
		at := rnd.Int64N(total)
		i := sort.Search(len(ends), func(i int) bool { return ends[i] > at })
		off := at
		if i > 0 {
			off -= ends[i-1]
		}
		start := time.Now()
		if err := readAt(paths[i], b, off&^4095); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start).Seconds())
	}
	return took, nil
}

func readAt(path string, b []byte, off int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	n, err := f.ReadAt(b, off)
	if n > 0 {
		err = nil // at the end of a file there is less
	}
	return errors.Join(err, f.Close())
}
