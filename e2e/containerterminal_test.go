package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A terminal is one that mica runs on, and that a person would sit at.
type terminal struct {
	t      *testing.T
	master console.Console
	slave  *os.File
	cmd    *exec.Cmd

	mu   sync.Mutex
	seen bytes.Buffer
}

// onTerminal starts mica on a terminal of its own.
func (b *boxes) onTerminal(args ...string) *terminal {
	b.t.Helper()
	master, path, err := console.NewPty()
	must(err)
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	must(err)
	x := &terminal{t: b.t, master: master, slave: slave, cmd: b.command(args...)}
	b.t.Cleanup(func() { master.Close(); slave.Close() })
	must(master.Resize(console.WinSize{Height: 31, Width: 91}))
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(x.cmd.Start())
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			x.mu.Lock()
			x.seen.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return x
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.String()
}

func (x *terminal) expect(want string) {
	x.t.Helper()
	if !waitFor(func() bool { return strings.Contains(x.text(), want) }) {
		x.t.Fatalf("the terminal shows %q, want %q in it", x.text(), want)
	}
}

func (x *terminal) send(keys string) {
	x.t.Helper()
	if _, err := x.master.Write([]byte(keys)); err != nil {
		x.t.Fatal(err)
	}
}

// modes are those of the terminal.
func (x *terminal) modes() unix.Termios {
	modes, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	must(err)
	return *modes
}

func (x *terminal) ends(status int) {
	x.t.Helper()
	done := make(chan struct{})
	go func() { _ = x.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		x.t.Fatalf("mica does not end; the terminal shows %q", x.text())
	}
	if got := x.cmd.ProcessState.ExitCode(); got != status {
		x.t.Errorf("exit status %d, want %d; the terminal shows %q", got, status, x.text())
	}
}

// TestContainerTerminal: size, keys, leaving and coming back; the user's terminal
// is as it was, whatever happens.
func TestContainerTerminal(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	x := b.onTerminal("run", "-it", "--name", "shell", b.image, "sh")
	before := x.modes()
	x.send("stty size; tty; echo $TERM\r")
	x.expect("31 91\r\n/dev/pts/0\r\nxterm\r\n")
	for i := range 300 {
		must(x.master.Resize(console.WinSize{Height: uint16(20 + i%7), Width: uint16(60 + i%11)}))
	}
	must(x.master.Resize(console.WinSize{Height: 44, Width: 122}))
	if !waitFor(func() bool {
		x.send("stty size\r")
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(x.text(), "44 122\r\n")
	}) {
		t.Fatalf("after many sizes the terminal shows %q", x.text())
	}
	x.send("sleep 100\r")
	time.Sleep(200 * time.Millisecond)
	x.send("\x03") // the program's, not mica's
	x.send("echo st''ill\r")
	x.expect("still\r\n")
	x.send("\x10a\x10\x11") // Ctrl-P and something else, then the keys to leave by
	x.ends(0)
	if after := x.modes(); after != before {
		t.Errorf("modes after leaving: %+v, before %+v", after, before)
	}
	y := b.onTerminal("attach", "shell")
	y.send("\x15exit 7\r")
	y.ends(7)
	if after := y.modes(); after != before {
		t.Errorf("modes after the end: %+v, before %+v", after, before)
	}

	// It ends while the terminal is raw.
	z := b.onTerminal("run", "-it", "--rm", "--name", "again", b.image, "sh", "-c", "echo ready; sleep 1000")
	z.expect("ready")
	b.mica("kill", "again")
	z.ends(137)
	if after := z.modes(); after != before {
		t.Errorf("modes after a kill: %+v, before %+v", after, before)
	}
	w := b.onTerminal("run", "-it", "--rm", b.image, "/bin/nosuch")
	w.ends(127)
	if after := w.modes(); after != before {
		t.Errorf("modes after a failure: %+v, before %+v", after, before)
	}
}

// TestContainerExecTerminal: another command on a terminal.
func TestContainerExecTerminal(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	b.mica("run", "-d", "--name", "box", b.image, "sleep", "1000")
	x := b.onTerminal("exec", "-it", "box", "sh")
	before := x.modes()
	x.send("stty size; id -u\r")
	x.expect("31 91\r\n0\r\n")
	must(x.master.Resize(console.WinSize{Height: 20, Width: 60}))
	if !waitFor(func() bool {
		x.send("stty size\r")
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(x.text(), "20 60\r\n")
	}) {
		t.Fatalf("after another size the terminal shows %q", x.text())
	}
	x.send("exit 3\r")
	x.ends(3)
	if after := x.modes(); after != before {
		t.Errorf("modes afterwards: %+v, before %+v", after, before)
	}
}

// TestContainerFull: where the disk of the upper is full, programs are told, and
// the container can be removed.
func TestContainerFull(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	store := filepath.Join(b.dir, "store")
	must(os.MkdirAll(store, 0o755))
	must(unix.Mount("small", store, "tmpfs", 0, "size=24m"))
	r := b.try("run", "--name", "full", b.image, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=100 2>&1; echo $?; sync; rm /big; echo gone; while [ $((i=i+1)) -lt 30 ]; do echo line; done")
	if r.status != 0 || !strings.Contains(r.stdout, "No space left on device\n") || !strings.Contains(r.stdout, "gone\n") {
		t.Errorf("on a full disk: %+v", r)
	}
	if r := b.try("run", "--rm", "-v", "/data", b.image, "sh", "-c", "cat /dev/zero >/data/x"); r.status == 0 {
		t.Errorf("a volume without end: %+v", r)
	}
	b.mica("rm", "full")
	b.mica("run", "--rm", b.image, "true")
}
