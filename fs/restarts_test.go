package fs

import (
	"testing"
	"time"
)

func TestRestarts(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		about  string
		lived  time.Duration
		killed bool
		want   []time.Duration // after each death; -1 gives up
	}{
		{"crashes at once", 20 * ms, false, []time.Duration{0, 50 * ms, 100 * ms, 200 * ms, 400 * ms, -1}},
		{"crashes now and then", time.Hour, false, []time.Duration{0, 0, 0, 0, 0, 0, 0, 0}},
		{"killed again and again", 20 * ms, true, []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 50 * ms, 50 * ms}},
	} {
		var r restarts
		for i, want := range tt.want {
			wait, ok := r.after(tt.lived, tt.killed)
			if !ok {
				wait = -1
			}
			if wait != want {
				t.Errorf("%s: after death %d: wait %v, want %v", tt.about, i+1, wait, want)
			}
		}
	}
}
