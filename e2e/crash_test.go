package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crashesEnv says how often TestCrashes crashes each flavour, 10 times if it is
// not set; historySeedEnv names the first seed.
const crashesEnv = "MICA_TEST_CRASHES"

// crashesAlike is how often one union is crashed before there is another.
const crashesAlike = 5

// TestCrashes kills all of a mount's processes in a storm of copy-ups, renames
// and whiteouts, mounts anew and compares with what had been acknowledged: all
// of it must be there, and of the operation that was under way all or nothing.
// A control is not killed: its storm stops.
func TestCrashes(t *testing.T) {
	count, first := envInt(t, crashesEnv, 10), envInt(t, historySeedEnv, 1)
	for _, f := range flavours() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			acknowledged := 0
			for seed := first; seed < first+count; seed += crashesAlike {
				t.Run("", func(t *testing.T) {
					c := &crashing{u: newUnion(t, f, modelLayers(0)...), like: newUnion(t, plainDir, modelLayers(0)...)}
					for i := range min(crashesAlike, first+count-seed) {
						if err := c.crash(t, rand.New(rand.NewPCG(19, uint64(seed+i)))); err != nil {
							t.Fatalf("seed %d: %v\n%s", seed+i, err, c.u.complaints())
						}
					}
					acknowledged += c.acknowledged
				})
			}
			t.Logf("%d crashes, %d operations acknowledged", count, acknowledged)
		})
	}
}

// A crashing is a union beside what was acknowledged of it.
type crashing struct {
	u, like      *union
	acknowledged int
}

// An outcome is what an actor has done, and with which result.
type outcome struct {
	op     modelOp
	result string
}

func (o outcome) String() string { return fmt.Sprintf("%v: %s", o.op, o.result) }

// lost are the results by which an operation learns that nobody serves it any
// more: it may have been done or not.
var lost = []string{"ENOTCONN", "ECONNABORTED"}

func (c *crashing) crash(t *testing.T, r *rand.Rand) error {
	storms := make([][]outcome, modelActors)
	var stop atomic.Bool
	var wait sync.WaitGroup
	for i := range storms {
		ops := newStorm(rand.New(rand.NewPCG(r.Uint64(), uint64(i))))
		wait.Go(func() { storms[i] = storm(filepath.Join(c.u.dir, workDir(i)), ops, &stop) })
	}
	time.Sleep(time.Duration(r.IntN(30_000)) * time.Microsecond)
	killed := c.u.kill()
	stop.Store(true)
	wait.Wait()
	if err := errors.Join(killed, c.u.cleared(), c.u.mount()); err != nil {
		t.Fatal(err)
	}
	for i, s := range storms {
		if err := c.compare(i, s); err != nil {
			return fmt.Errorf("actor %d, after %d operations: %w\nthe last: %s", i, len(s), err, last(s, 20))
		}
	}
	return nil
}

// kill kills all that serves the union.
func (u *union) kill() error {
	if !u.isMica() {
		return nil
	}
	out, err := output(u.h.command("mounts", "--format", "json"))
	if err != nil {
		return err
	}
	p, err := processesIn(out, u.dir)
	if err != nil {
		return err
	}
	return p.kill()
}

// cleared takes away what kill has left of the mount.
func (u *union) cleared() error {
	if !u.isMica() {
		return u.umount()
	}
	return unix.Unmount(u.dir, unix.MNT_DETACH)
}

// compare brings the plain directory to where an actor has come and compares. Of
// what was under way nobody knows whether it was done.
func (c *crashing) compare(i int, s []outcome) error {
	a := newActor(filepath.Join(c.like.dir, workDir(i)))
	defer a.closeAll()
	var unsure *modelOp
	for n, o := range s {
		if slices.Contains(lost, o.result) {
			unsure = &s[n].op
			break
		}
		c.acknowledged++
		if want := a.do(o.op); want != o.result {
			return fmt.Errorf("%v, want %s", o, want)
		}
	}
	err := c.alike(i, unsure != nil || leftOpen(s))
	if err != nil && unsure != nil {
		a.do(*unsure)
		if also := c.alike(i, true); also != nil {
			return fmt.Errorf("not done: %w\ndone: %w", err, also)
		}
		return nil
	}
	return err
}

// leftOpen reports whether an actor was stopped between an open and the save that
// closes it.
func leftOpen(s []outcome) bool {
	return len(s) > 0 && s[len(s)-1].op.kind == "open"
}

// alike compares all but the times of directories, which a copy-up puts back
// after it has made a name. Where something was under way the times of files are
// taken as they are: the kernel tells of a write, or that a file was cut by an
// open, and of its time one by one, of the time at the latest when it is closed.
func (c *crashing) alike(i int, anyTimes bool) error {
	root := filepath.Join(c.like.dir, actorDir(i))
	want, err := readTree(root)
	got, gotErr := readTree(filepath.Join(c.u.dir, actorDir(i)))
	if err := errors.Join(err, gotErr); err != nil {
		return err
	}
	for p, n := range want {
		g, ok := got[p]
		if !ok || !anyTimes || n.Mtime == g.Mtime {
			continue
		}
		ts := []unix.Timespec{g.Mtime, g.Mtime}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, p), ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		n.Mtime = g.Mtime
		want[p] = n
	}
	return compare(kernel.onlySetTimes(want), kernel.onlySetTimes(got))
}

// storm does operations until there is no mount any more.
func storm(root string, ops []modelOp, stop *atomic.Bool) (done []outcome) {
	a := newActor(root)
	defer a.closeAll()
	for _, o := range ops {
		if stop.Load() {
			break
		}
		result := a.do(o)
		// Of pages that it could not send any more the kernel has EIO, or tells
		// nothing: who does not ask for an fsync has to look.
		var st unix.Statfs_t
		if (o.kind == "save" || result == unix.ErrnoName(unix.EIO)) && unix.Statfs(root, &st) == unix.ENOTCONN {
			result = lost[0]
		}
		done = append(done, outcome{o, result})
		if slices.Contains(lost, result) {
			break
		}
	}
	return done
}

func last(s []outcome, n int) string {
	var b strings.Builder
	for _, o := range s[max(0, len(s)-n):] {
		fmt.Fprintf(&b, "\n\t%v", o)
	}
	return b.String()
}

// stormKinds are operations that are done or not. "save" is what follows an
// open, in which a file is written to: what is written is acknowledged by close.
var stormKinds = slices.Concat(
	slices.Repeat([]string{"save"}, 8),
	slices.Repeat([]string{"rename"}, 6),
	slices.Repeat([]string{"chmod", "mkdir", "unlink"}, 3),
	[]string{"chown", "link", "mknod", "removexattr", "rmdir", "setxattr", "symlink", "truncate", "utimes"})

var stormFlags = []int{unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_CREAT, unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, unix.O_WRONLY | unix.O_TRUNC}

func newStorm(r *rand.Rand) (ops []modelOp) {
	const length = 5000 // never done before the crash
	for range length {
		o := randomOp(r)
		if o.kind = stormKinds[r.IntN(len(stormKinds))]; o.kind == "save" {
			open := o
			open.kind = "open"
			open.flags = slices.Index(openFlags, stormFlags[r.IntN(len(stormFlags))])
			ops = append(ops, open)
			// In one page, so that the kernel writes it at once.
			o.off, o.n = o.off&^4095, min(o.n, 4096)
		}
		ops = append(ops, o)
	}
	return ops
}
