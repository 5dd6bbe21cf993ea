package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sizeRows are about what mica takes of disk and memory.
func sizeRows() []row {
	return []row{
		{
			name:    "disk",
			what:    "what the store has after a first mount, less 80 bytes an entry of the layers",
			images:  []string{"app", "big"},
			compare: disk,
			sides:   []side{{name: "mica", before: "rm -rf $MICA_ROOT; mica mount FORM $M", command: "bytes of the files in $MICA_ROOT; entries as mica layers counts them"}},
		},
		{
			name:    "memory",
			what:    "private memory of the processes of a mount of a million entries, after find and 10,000 reads",
			images:  []string{"million"},
			setup:   "remount $REF",
			compare: memory,
			sides:   []side{{name: "mica", before: "remount $REF; find $M; 10,000 reads as in random", command: "Private_Dirty in /proc/PID/smaps_rollup"}},
		},
	}
}

// A form is a way in which the images are stored.
type form struct {
	name, ref, blobs string
	bar              bar // of the share of the blobs in percent, or of bytes
	unit             unit
}

func disk(l *lab, r *row) (all []comparison, err error) {
	for _, image := range r.images {
		for _, f := range []form{
			{"gzip", "oci:$IMAGES/oci:" + image, "oci", bar{of: value, limit: .7, aim: .35}, percent},
			{"zstd", "oci:$IMAGES/oci-zstd:" + image, "oci-zstd", bar{of: value, limit: 1, aim: .5}, percent},
			{"archive", "docker-archive:$IMAGES/" + image + ".docker.tar", "", bar{of: value, limit: 0}, bytes},
		} {
			extra, err := l.extra(image, f)
			if err != nil {
				return all, err
			}
			fmt.Fprintf(l.log, "disk %s %s: %s\n", image, f.name, f.unit.print(extra))
			all = append(all, comparison{about: image + ", " + f.name, unit: f.unit, samples: []sample{{"mica", []float64{extra}}}, bars: []bar{f.bar}})
		}
	}
	return all, nil
}

// extra is what a mount keeps besides the blobs and 80 bytes an entry.
func (l *lab) extra(image string, f form) (float64, error) {
	// Contents are there when all is proven; a second mount makes what is missing yet.
	lines := "mica mount -q " + f.ref + " $M >/dev/null; cat $M/etc/passwd >/dev/null; mica umount $M\n"
	if _, err := l.bash(image, "if mountpoint -q $M; then mica umount $M; fi; rm -rf $MICA_ROOT\n"+lines+lines); err != nil {
		return 0, err
	}
	kept, err := sizeOf(filepath.Join(l.dir, "store"))
	if err != nil {
		return 0, err
	}
	var layers []struct{ Files, Whiteouts int64 }
	if err := l.micaJSON(&layers, "layers --format json "+f.ref); err != nil {
		return 0, err
	}
	entries := int64(0)
	for _, layer := range layers {
		entries += layer.Files + layer.Whiteouts
	}
	extra := float64(kept - 80*entries)
	if f.blobs == "" {
		return extra, nil
	}
	var blobs int64
	for _, path := range l.layers(f.blobs, image) {
		st, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		blobs += st.Size()
	}
	return 100 * extra / float64(blobs), nil
}

// sizeOf is how many bytes the files below dir have.
func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			total += st.Size()
		}
		return err
	})
	return total, err
}

// memory looks at the server and at the holder.
func memory(l *lab, r *row) (all []comparison, err error) {
	server, holder := sample{name: "server"}, sample{name: "holder"}
	for range 3 { // minutes each, and no time is taken
		if err := l.prepare(r, r.images[0]); err != nil {
			return nil, err
		}
		if _, err := l.bash("", "find $M >/dev/null\n"); err != nil {
			return nil, err
		}
		if _, err := readRandom(l.mount(), 10_000, 1); err != nil {
			return nil, err
		}
		var mounts []struct {
			Dir         string
			PID, Holder int
		}
		if err := l.micaJSON(&mounts, "mounts --format json"); err != nil {
			return nil, err
		}
		for _, m := range mounts {
			if m.Dir == l.mount() {
				server.runs = append(server.runs, privateMemory(m.PID))
				holder.runs = append(holder.runs, privateMemory(m.Holder))
			}
		}
	}
	if len(server.runs) == 0 {
		return nil, fmt.Errorf("mica mounts does not know of %s", l.mount())
	}
	return []comparison{
		{about: "server", unit: bytes, samples: []sample{server}, bars: []bar{{of: value, limit: 64 << 20, aim: 32 << 20}}},
		{about: "holder", unit: bytes, samples: []sample{holder}, bars: []bar{{of: value, limit: 8 << 20}}},
	}, nil
}

// privateMemory is what a process has written to and nobody else has, in bytes;
// pages of files that it maps, as the tree's, are the page cache's.
func privateMemory(pid int) float64 {
	kb, _, _ := strings.Cut(field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Private_Dirty"), " ")
	n, err := strconv.Atoi(kb)
	if err != nil {
		return 0
	}
	return float64(n) * 1024
}
