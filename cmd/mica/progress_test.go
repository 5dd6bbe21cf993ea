package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is written by the display and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// read tells a progress of two layers that are read, in halves.
func readTwo(p *progress) {
	first, second := p.layer("layer 1/2", 2000), p.layer("layer 2/2", 500)
	for _, n := range []int64{1000, 1000} {
		first(n)
		second(n / 4)
	}
	p.done()
	p.done()
}

func TestProgressPlain(t *testing.T) {
	var out lockedBuffer
	p := newProgress(&out, "plain")
	readTwo(p)
	want := regexp.MustCompile(`\Aindexed layer 1/2, 2kB, after \d+ms\nindexed layer 2/2, 500B, after \d+ms\n\z`)
	if got := out.String(); !want.MatchString(got) {
		t.Errorf("plain progress prints\n%swant %s", got, want)
	}
	if n, took := p.total(); n != 2500 || took <= 0 {
		t.Errorf("total = %d bytes in %v, want 2500 in some time", n, took)
	}
}

func TestProgressPlainTotal(t *testing.T) {
	var out lockedBuffer
	s := &lines{w: &out}
	layers := []*layerProgress{{name: "layer 1/2", size: 300e6}, {name: "layer 2/2", size: 100e6}}
	layers[0].read.Store(100e6)
	for _, took := range []time.Duration{1, 9, 10, 11, 19, 21} {
		s.update(took*time.Second, layers)
	}
	for _, l := range layers {
		l.read.Store(l.size)
		l.done.Store(1)
	}
	s.ended[layers[0]], s.ended[layers[1]] = true, true // said before
	s.update(33*time.Second, layers)
	want := "indexing: 0 of 2 layers, 100MB of 400MB (25%), 10MB/s\nindexing: 0 of 2 layers, 100MB of 400MB (25%), 4.76MB/s\n" +
		"all of 2 layers is read, putting it together: 33s so far\n"
	if got := out.String(); got != want {
		t.Errorf("lines about the whole\n%swant\n%s", got, want)
	}
}

func TestProgressJSON(t *testing.T) {
	var out lockedBuffer
	readTwo(newProgress(&out, "json"))
	var last progressLine
	for line := range strings.Lines(out.String()) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
	}
	last.Seconds = 0
	if want := (progressLine{"indexed", 2, 2, 2500, 2500, 0}); last != want {
		t.Errorf("the last line is %+v, want %+v", last, want)
	}
}

// TestProgressSilent: what is quick is not shown unless asked for; nor what
// was there already.
func TestProgressSilent(t *testing.T) {
	var out lockedBuffer
	readTwo(newProgress(&out, "none"))
	newProgress(&out, "plain").done()
	quick := newProgress(&out, "auto")
	quick.layer("layer 1/1", 10)(10)
	quick.done()
	if got := out.String(); got != "" {
		t.Errorf("printed %q, want nothing", got)
	}
	var none *progress
	if none.layer("layer 1/1", 10) != nil {
		t.Error("a nil progress counts")
	}
	none.done()
	if n, took := none.total(); n != 0 || took != 0 {
		t.Errorf("total of a nil progress = %d, %v", n, took)
	}
}

// TestProgressBars: what is drawn says how far each layer is, starts at the
// left, and goes away.
func TestProgressBars(t *testing.T) {
	term := newTerminal(t, 100)
	b := &bars{w: term.File}
	l := &layerProgress{name: "layer 1/1", size: 4000}
	l.read.Store(1000)
	b.update(0, []*layerProgress{l})
	term.wait(t, "\rindexing layer 1/1  1kB of 4kB [")
	term.wait(t, "25 %")
	l.read.Store(4000)
	b.update(time.Second, []*layerProgress{l})
	term.wait(t, "\r\x1b[1A\x1b[Jindexing layer 1/1  4kB of 4kB [")
	b.close()
	if got := term.text(); !strings.HasSuffix(strings.TrimRight(got, "\r"), "\x1b[1A\x1b[J") {
		t.Errorf("bars are left: %q", got)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 4 * time.Millisecond: "4ms", 99 * time.Millisecond: "99ms", 900 * time.Millisecond: "0.9s",
		9940 * time.Millisecond: "9.9s", 12 * time.Second: "12s", 125 * time.Second: "2m05s", 3600 * time.Second: "60m00s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%v) = %s, want %s", d, got, want)
		}
	}
}
