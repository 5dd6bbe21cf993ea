package fs

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestStats(t *testing.T) {
	s, runtime := startHeld(t)
	m := s.info(runtime)
	before, err := ReadStats(m)
	if err != nil {
		t.Fatal(err)
	}
	if before.PID != s.pid || before.Dir != s.dir || before.Source != "mica" || before.Started.IsZero() {
		t.Errorf("ReadStats = %+v, want those of server %d of %s", before, s.pid, s.dir)
	}
	for _, name := range []string{"one", "cached"} {
		if _, err := os.ReadFile(s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Statfs_t
	for range 3 {
		if err := unix.Statfs(s.dir, &st); err != nil {
			t.Fatal(err)
		}
	}
	after, err := ReadStats(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := after.Read-before.Read, uint64(len("two names")+3*maxRead+17); got != want {
		t.Errorf("bytes read: %d, want %d", got, want)
	}
	i := slices.IndexFunc(after.Requests, func(r RequestStats) bool { return r.Kind == "STATFS" })
	if i < 0 || after.Requests[i].Count < 3 || after.Requests[i].P50 <= 0 || after.Requests[i].P99 < after.Requests[i].P50 {
		t.Errorf("requests: %+v, want at least 3 of STATFS with their durations", after.Requests)
	}
	if mem := after.Memory; mem.Heap <= 0 || mem.Mapped <= 0 {
		t.Errorf("memory: %+v", mem)
	}
	// A successor answers too, from nothing.
	s.kill()
	again, err := ReadStats(s.info(runtime))
	if err != nil || again.PID != s.pid || again.Read != 0 {
		t.Errorf("after a kill: %+v, %v; want server %d, nothing read", again, err, s.pid)
	}
}

func TestTrace(t *testing.T) {
	s, runtime := startHeld(t)
	stop, ended := make(chan struct{}), make(chan error)
	got := make(chan Touched)
	m := s.info(runtime)
	go func() {
		ended <- Trace(m, stop, func(f Touched) error {
			got <- f
			return nil
		})
	}()
	// The first file is touched until it is told of: the trace has begun then.
	cached, err := os.Open(s.path("cached"))
	if err != nil {
		t.Fatal(err)
	}
	defer cached.Close()
	b := make([]byte, 1)
	begun := func() (f Touched, ok bool) {
		if err := unix.Fadvise(int(cached.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if _, err := cached.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		select {
		case f = <-got:
			return f, true
		case <-time.After(10 * time.Millisecond):
			return f, false
		}
	}
	var files []string
	until(t, "the trace begins", func() bool {
		f, ok := begun()
		if ok {
			files = append(files, f.Path)
		}
		return ok
	})
	for _, name := range []string{"one", "cached", "two"} { // of which "two" is "one"
		if _, err := os.ReadFile(s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	f := <-got
	files = append(files, f.Path)
	if f.Bytes != int64(len("two names")) || time.Since(f.Time) > time.Minute {
		t.Errorf("touched: %+v", f)
	}
	if diff := cmp.Diff([]string{"/cached", "/one"}, files); diff != "" {
		t.Errorf("files touched (-want +got):\n%s", diff)
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Errorf("Trace, stopped: %v", err)
	}
	failure := errors.New("enough")
	go func() { ended <- Trace(m, nil, func(Touched) error { return failure }) }()
	until(t, "the trace ends", func() bool {
		begun()
		select {
		case err := <-ended:
			if err != failure {
				t.Errorf("Trace = %v, want the error of its function", err)
			}
			return true
		default:
			return false
		}
	})
}
