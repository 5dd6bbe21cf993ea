package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"time"

	"mica/layerstore/inflate"
)

// liveRows are about decoding, and about servers that end.
func liveRows() []row {
	return []row{
		{
			name:   "inflate",
			what:   "inflate and checksum of the layers of a real image, against compress/gzip and igzip",
			images: []string{"app"},
			setup:  "warm $LAYERS",
			sides: []side{
				{name: "mica", command: "layerstore/inflate, in this process", measure: decoding(func(r io.Reader) (io.Reader, error) {
					return inflate.NewReader(r, inflate.Options{}), nil
				})},
				{name: "compress/gzip", command: "compress/gzip, in this process", measure: decoding(func(r io.Reader) (io.Reader, error) {
					return gzip.NewReader(bufio.NewReaderSize(r, 256<<10))
				})},
				{name: "igzip", run: "for l in $LAYERS; do igzip -dc $l; done"},
			},
			bars: []bar{{of: speedup, limit: 2, aim: 3, against: "compress/gzip"}, {of: speedup, limit: .5, aim: .8, against: "igzip"}},
		},
		{
			name:   "upgrade",
			what:   "a live mount is taken over by another process, as by a newer mica",
			images: []string{"big"},
			runs:   15,
			setup:  "remount $REF",
			sides:  []side{{name: "mica", run: "mica upgrade $M"}},
			bars:   []bar{{of: value, limit: .3}},
		},
		{
			name:    "kills",
			what:    "how long a mount does not answer after kill -9 of its server, of 1,000 under readers, walks and mapped memory",
			compare: kills,
			sides:   []side{{name: "mica", run: "MICA_TEST_KILLS=1000 go test -count=1 -run 'TestKills$' -v ./e2e"}},
		},
	}
}

// decoding measures how long the layers of an image take to decode.
func decoding(open func(io.Reader) (io.Reader, error)) func(*lab, string) (float64, error) {
	return func(l *lab, image string) (float64, error) {
		start := time.Now()
		for _, path := range l.layers("oci", image) {
			if err := decode(path, open); err != nil {
				return 0, err
			}
		}
		return time.Since(start).Seconds(), nil
	}
}

func decode(path string, open func(io.Reader) (io.Reader, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := open(f)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return err
}

var killsLine = regexp.MustCompile(`\d+ kills, then pauses: (\S+) \(median\), \S+ \([^)]*\), (\S+) \(longest\)`)

// kills runs the test that kills, in the repository.
func kills(l *lab, r *row) (all []comparison, err error) {
	cmd := exec.Command("sh", "-c", r.sides[0].run)
	out, err := cmd.CombinedOutput()
	found := killsLine.FindSubmatch(out)
	if err != nil || found == nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	for i, about := range []string{"half", "longest"} {
		pause, err := time.ParseDuration(string(found[i+1]))
		if err != nil {
			return nil, err
		}
		all = append(all, comparison{about: about, samples: []sample{{"mica", []float64{pause.Seconds()}}}, bars: []bar{{of: value, limit: .3}}})
	}
	return all, nil
}
