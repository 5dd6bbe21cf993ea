package fs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// readRow reads the files of the directory "row" from one number to another, and
// compares them with what they ought to be.
func (s *testServer) readRow(from, to int) {
	s.t.Helper()
	v := smallView()
	row := v.nodes[v.nodes[0].children["row"]-1]
	for i := from; i < to; i++ {
		name := fmt.Sprintf("%02d", i)
		want := v.nodes[row.children[name]-1].data
		if got, err := os.ReadFile(s.path("row", name)); err != nil || string(got) != string(want) {
			s.t.Errorf("row/%s: %d bytes, %v; want %d bytes %.20q", name, len(got), err, len(want), want)
		}
	}
}

func (s *testServer) listRow() {
	s.t.Helper()
	if _, err := os.ReadDir(s.path("row")); err != nil {
		s.t.Fatal(err)
	}
}

// reads is how many READs the server was sent, pushed how many files it pushed.
func (s *testServer) reads() uint64 {
	s.t.Helper()
	counts := map[string]uint64{}
	s.ask("requests", &counts)
	return counts["READ"]
}

func (s *testServer) pushed() (n uint64) {
	s.t.Helper()
	s.ask("pushed", &n)
	return n
}

// TestPush reads files in order where they are pushed, and where nothing is: all
// bytes are the same, and fewer are asked for.
func TestPush(t *testing.T) {
	plain := startServer(t, serverSpec{AllowOther: true})
	pushing, _ := startHeld(t)
	until(t, "files may be pushed", func() bool { return pushing.pushes() })
	for _, s := range []*testServer{plain, pushing} {
		s.listRow()
		s.readRow(0, len(rowSizes))
	}
	if n := plain.pushed(); n != 0 {
		t.Errorf("%d files pushed by a server that nobody would take over from", n)
	}
	// All but 0 and 1; 6, as 4 were pushed after 1; and 7, which is too long.
	if got, want := pushing.pushed(), uint64(len(rowSizes)-4); got != want {
		t.Errorf("%d files pushed, want %d", got, want)
	}
	if got, all := pushing.reads()+pushing.pushed(), plain.reads(); got != all {
		t.Errorf("%d files were pushed or asked for, want %d", got, all)
	}
}

func (s *testServer) pushes() (may bool) {
	s.t.Helper()
	s.ask("pushes", &may)
	return may
}

// TestPushUnknown reads files without their directory having been listed, so that
// the kernel does not know those that come next.
func TestPushUnknown(t *testing.T) {
	s, _ := startHeld(t)
	until(t, "files may be pushed", func() bool { return s.pushes() })
	s.readRow(0, 6)
	if n := s.pushed(); n != 0 {
		t.Errorf("%d files pushed that the kernel does not know", n)
	}
	s.listRow()
	s.readRow(6, len(rowSizes))
	if n := s.pushed(); n == 0 {
		t.Error("nothing pushed once the kernel knows the files")
	}
}

// pushOnLocked has a server wait for a page that a reader, which is given, has
// locked until the gate opens.
func (s *testServer) pushOnLocked() (reader *exec.Cmd, out *lockedBuffer) {
	s.t.Helper()
	until(s.t, "files may be pushed", func() bool { return s.pushes() })
	var ok bool
	s.ask("push blindly", &ok)
	s.listRow()
	last := len(rowSizes)
	out = &lockedBuffer{}
	reader = exec.Command("cat", s.path("row", heldName))
	reader.Stdout = out
	if err := reader.Start(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, "the read waits", func() bool { return s.waiting() == 1 })
	s.readRow(last-2, last-1)
	before := exec.Command("cat", s.path("row", fmt.Sprintf("%02d", last-1)))
	if err := before.Start(); err != nil {
		s.t.Fatal(err)
	}
	go before.Wait()
	until(s.t, "a push waits", s.storing)
	return reader, out
}

// storing reports whether a thread of the server waits for a page.
func (s *testServer) storing() bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.pid))
	for _, task := range tasks {
		where, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/wchan", s.pid, task.Name()))
		if strings.Contains(string(where), "folio") {
			return true
		}
	}
	return false
}

// TestKilledWhilePushing kills a server one thread of which waits in the kernel,
// beyond the reach of signals, for the reply that the server owes. Another one
// must take over all the same.
func TestKilledWhilePushing(t *testing.T) {
	s, _ := startHeld(t)
	reader, out := s.pushOnLocked()
	s.kill()
	s.openGate()
	if err := reader.Wait(); err != nil || out.String() != "held until the gate opens" {
		t.Errorf("the reader of two servers: %q, %v", out.String(), err)
	}
	s.untilLogged("killed while it waited for the kernel")
	s.readRow(0, len(rowSizes)+1)
}

// TestForceWhilePushing unmounts by force then: the read ends, and with it the
// push, of which the reader may still profit.
func TestForceWhilePushing(t *testing.T) {
	s, runtime := startHeld(t)
	holder := s.holder(runtime)
	reader, out := s.pushOnLocked()
	if err := unix.Unmount(s.dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := reader.Wait(); err == nil && out.String() != "held until the gate opens" {
		t.Errorf("the reader of a mount that was aborted: %q", out.String())
	}
	until(t, "holder and server end", func() bool { return gone(holder) && gone(s.pid) })
}

// FuzzStreams has programs read files in any order: windows are bounded, and a
// push follows only a file that follows another.
func FuzzStreams(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 9, 10, 5, 11, 6})
	f.Add([]byte{1, 1, 2, 2, 200, 201, 3, 3})
	f.Fuzz(func(t *testing.T, reads []byte) {
		v := newMemView()
		for i := range 300 {
			if data := "x"; i%7 != 0 {
				v.file(fmt.Sprint(i), data)
			} else {
				v.add(fmt.Sprint(i), unix.S_IFDIR, nil)
			}
		}
		var ss streams
		for _, r := range reads {
			id, _ := v.NextFile(overlay.NodeID(r))
			s := ss.asked(id, v)
			if len(ss) > maxStreams {
				t.Fatalf("%d streams", len(ss))
			}
			if s == nil {
				continue
			}
			if s.last != id || s.window < firstWindow || s.window > mostWindow || !s.busy || ss[0] != s {
				t.Fatalf("after %d: %+v", id, s)
			}
			// As push does, if the kernel knows a few.
			for range min(s.window, int(r)%5) {
				s.last, _ = v.NextFile(s.last)
			}
			s.busy = r%11 == 0
		}
	})
}
