package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bars draws a line a layer in place, and takes them away in the end: the
// summary says it all.
type bars struct {
	w    io.Writer
	pool *mpb.Progress
	draw chan any
	all  []*mpb.Bar // by layer
	idle int        // updates since all was read
	rest *mpb.Bar   // of what is to be done then
}

func (b *bars) update(_ time.Duration, layers []*layerProgress) {
	if b.pool == nil {
		b.draw = make(chan any)
		b.pool = mpb.New(mpb.WithOutput(b.w), mpb.WithManualRefresh(b.draw))
	}
	for i, l := range layers {
		if i == len(b.all) {
			b.all = append(b.all, b.pool.AddBar(l.size, mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name(l.verbs.doing()+" "+l.name, decor.WCSyncSpaceR), text(l.amount)),
				mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), text(l.speed))))
		}
		b.all[i].SetCurrent(l.read.Load())
	}
	if sum := sumUp(layers); sum.done == sum.layers {
		b.idle++
	}
	if b.rest == nil && time.Duration(b.idle)*refresh > showAfter {
		b.rest = b.pool.AddSpinner(0, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(decor.Name("putting it together", decor.WCSyncSpaceR)))
	}
	b.redraw()
}

// redraw starts at the left: a Ctrl-C that the terminal has echoed would shift
// the bars, and the way back to the first of them.
func (b *bars) redraw() {
	fmt.Fprint(b.w, "\r")
	b.draw <- time.Now()
}

// text is a column of the bars that is made anew each time.
func text(f func() string) decor.Decorator {
	return decor.Any(func(decor.Statistics) string { return f() }, decor.WCSyncSpace)
}

func (l *layerProgress) amount() string { return size(l.read.Load()) + " of " + size(l.size) }

func (l *layerProgress) speed() string {
	begun := l.begun.Load()
	if begun == nil {
		return ""
	}
	return size(int64(float64(l.read.Load())/time.Since(*begun).Seconds())) + "/s"
}

func (b *bars) close() {
	for _, bar := range b.all {
		bar.Abort(true)
	}
	if b.rest != nil {
		b.rest.Abort(true)
	}
	b.redraw()
	b.pool.Wait()
}

// lines writes a line when a layer is done, and from time to time one about
// the whole: for logs.
type lines struct {
	w     io.Writer
	ended map[*layerProgress]bool
	next  time.Duration // when the next line about the whole is due
}

func (s *lines) update(took time.Duration, layers []*layerProgress) {
	if s.ended == nil {
		s.ended, s.next = make(map[*layerProgress]bool), totalEvery
	}
	sum := sumUp(layers)
	for _, l := range layers {
		if done := time.Duration(l.done.Load()); done > 0 && !s.ended[l] {
			s.ended[l] = true
			fmt.Fprintf(s.w, "%s %s, %s, after %s\n", l.verbs.done(), l.name, size(l.size), seconds(done))
		}
	}
	switch {
	case took < s.next:
	case sum.done == sum.layers:
		s.next = took + totalEvery
		fmt.Fprintf(s.w, "all of %s is read, putting it together: %s so far\n", plural(sum.layers, "layer"), seconds(took))
	default:
		s.next = took + totalEvery
		fmt.Fprintf(s.w, "%s: %d of %s, %s of %s (%d%%), %s/s\n", layers[0].verbs.doing(), sum.done, plural(sum.layers, "layer"),
			size(sum.read), size(sum.size), 100*sum.read/max(sum.size, 1), size(int64(float64(sum.read)/took.Seconds())))
	}
}

func (*lines) close() {}

// jsonLines writes what lines writes as one JSON object a line.
type jsonLines struct {
	w    io.Writer
	next time.Duration // when the next line is due
	last string        // status of the last one
}

// A progressLine is one line of --progress json; sizes are in bytes.
type progressLine struct {
	Status  string  `json:"status"` // "indexing", "verifying" or "reading"; in the last line "indexed" and so on
	Layers  int     `json:"layers"`
	Done    int     `json:"done"` // layers
	Read    int64   `json:"read"`
	Size    int64   `json:"size"`
	Seconds float64 `json:"seconds"`
}

// jsonEvery is how often a program that reads along gets a line.
const jsonEvery = time.Second

func (s *jsonLines) update(took time.Duration, layers []*layerProgress) {
	sum := sumUp(layers)
	status := layers[0].verbs.doing()
	if sum.done == sum.layers {
		status = layers[0].verbs.done()
	}
	if status == s.last && (took < s.next || sum.done == sum.layers) {
		return
	}
	s.next, s.last = took+jsonEvery, status
	// A reader that is gone is no reason not to index.
	_ = json.NewEncoder(s.w).Encode(progressLine{status, sum.layers, sum.done, sum.read, sum.size, took.Seconds()})
}

func (*jsonLines) close() {}

// A sum is the state of an image as a whole. Layers that are indexed already
// take no part in it.
type sum struct {
	layers, done int
	read, size   int64
}

func sumUp(layers []*layerProgress) (s sum) {
	for _, l := range layers {
		s.layers++
		if l.done.Load() > 0 {
			s.done++
		}
		s.read += l.read.Load()
		s.size += l.size
	}
	return s
}

// seconds is a duration as people read it: "0.9s", "12s", "2m05s".
func seconds(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
