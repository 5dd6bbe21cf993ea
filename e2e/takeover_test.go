package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// takeoverSeeds is how many random histories [TestTakeover] does in "make test";
// killsEnv sets the number of kills there.
const takeoverSeeds = 2

// TestTakeover does random operations, compared with those in a plain directory,
// while the server of the mount is killed again and again: each result and all
// that is there afterwards must be the same. Files that are open, and those that
// were deleted while open, go on.
func TestTakeover(t *testing.T) {
	needFUSE(t)
	kills := 0
	if v := os.Getenv(killsEnv); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	for about, uid := range map[string]int{"root": 0, "a user": ordinary} {
		t.Run(about, func(t *testing.T) {
			m := &model{t: t, flavour: overImage, uid: uid}
			killed := 0
			for seed := uint64(1); seed <= takeoverSeeds || killed < kills; seed++ {
				var d *difference
				t.Run("", func(t *testing.T) {
					var n int
					d, n = m.runUnderKills(t, newPlan(seed))
					killed += n
				})
				if d != nil {
					t.Fatalf("seed %d: %v", seed, d)
				}
			}
			t.Logf("%d kills", killed)
		})
	}
}

// runUnderKills does a plan without a remount, and gives how often the server
// was killed meanwhile.
func (m *model) runUnderKills(t *testing.T, p plan) (d *difference, kills int) {
	u := newUnion(t, m.flavour, modelLayers(m.uid)...)
	like := newUnion(t, plainDir, modelLayers(m.uid)...)
	k := &killing{dir: u.dir, holder: u.h.processes(u.dir).Holder}
	var over atomic.Bool
	var killer sync.WaitGroup
	killer.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for !over.Load() {
			time.Sleep(time.Duration(1+r.IntN(20)) * time.Millisecond)
			k.kill(t)
			kills++
			// What the mount is asked is answered late, and right.
			var st unix.Statfs_t
			if err := unix.Statfs(u.dir, &st); err != nil {
				t.Errorf("statfs after a kill: %v", err)
			}
		}
	})
	for _, ops := range p {
		if d = m.round(u, like, ops); d != nil {
			break
		}
		if d = compareActors(u, like, ops); d != nil {
			break
		}
	}
	over.Store(true)
	killer.Wait()
	if d != nil {
		d.err = fmt.Errorf("%w\n%s", d.err, u.complaints())
		return d, kills
	}
	if err := u.remount(); err != nil {
		t.Fatal(err)
	}
	if d = compareActors(u, like, p[len(p)-1]); d != nil {
		d.err = fmt.Errorf("after a remount: %w", d.err)
	}
	return d, kills
}
