package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// modelTimeEnv is for how long each flavour is compared with a plain directory,
// as root and as an ordinary user; a few seeds if it is not set. historySeedEnv
// names the first.
const modelTimeEnv = "MICA_TEST_MODEL_TIME"

const (
	modelSeeds  = 4
	modelActors = 4
	modelRounds = 3 // with a remount after each
	modelLength = 200
)

// A plan is what is done: plan[round][actor] are operations in order.
type plan [][][]modelOp

func newPlan(seed uint64) plan {
	p := make(plan, modelRounds)
	for round := range p {
		p[round] = make([][]modelOp, modelActors)
		for i := range p[round] {
			r := rand.New(rand.NewPCG(seed, uint64(round*modelActors+i)))
			for range modelLength {
				p[round][i] = append(p[round][i], randomOp(r))
			}
		}
	}
	return p
}

// TestModel does random operations in a union and in a plain directory, by
// several actors at once in directories of their own, so that each result is
// determined by the seed. Each result, and all that is there after each round
// and after each remount, must be the same in both. What differs is made as
// short as it can be.
func TestModel(t *testing.T) {
	first := uint64(envInt(t, historySeedEnv, 1))
	var limit time.Duration
	if v := os.Getenv(modelTimeEnv); v != "" {
		var err error
		if limit, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range andByKernel(flavours()) {
		for about, uid := range map[string]int{"root": 0, "a user": ordinary} {
			t.Run(string(f)+", "+about, func(t *testing.T) {
				t.Parallel()
				m := &model{t: t, flavour: f, uid: uid}
				start, tried := time.Now(), 0
				for seed := first; tried < modelSeeds || time.Since(start) < limit; seed++ {
					tried++
					if d := m.run(newPlan(seed)); d != nil {
						short := m.shrink(newPlan(seed), d.actor)
						t.Fatalf("seed %d: %v\nshortened:\n%v%v", seed, d, short, m.run(short))
					}
				}
				t.Logf("%d seeds of %d operations", tried, modelActors*modelRounds*modelLength)
			})
		}
	}
}

// A model is a union beside the plain directory that it is to be like.
type model struct {
	t *testing.T
	flavour
	uid int
}

// A difference says where the two are not alike.
type difference struct {
	actor int
	err   error
}

func (d *difference) Error() string { return fmt.Sprintf("actor %d: %v", d.actor, d.err) }

// modelLayers give each actor two layers to begin with.
func modelLayers(uid int) [][]entry {
	layers := make([][]entry, 2)
	text := strings.Repeat("lower ", 3000)
	for i := range modelActors {
		for n, l := range [][]entry{
			{dir("."), file("a", text).xattr("user.a", "1"), hardlink("b", "a"), dir("c"), file("c/a", "c/a"), file("c/b", text).mode(0o4755), dir("c/c"), file("c/c/a", "x"), symlink("d", "a"),
				dir("e"), file("e/a", text[:5000])},
			// Each names its directories: what a lower directory does not
			// have, an extracting tool takes from below.
			{dir("."), dir("e"), dir("c").mode(0o2775), file("c/a", "of the upper layer"), symlink("c/d", "../e"), hardlink("c/e", "c/a"), deleted("e/a"), file("e/b", "")},
		} {
			for _, e := range l {
				layers[n] = append(layers[n], e.own(uid, uid).in(workDir(i)))
			}
			layers[n] = append(layers[n], dir(actorDir(i)).own(uid, uid))
		}
	}
	return layers
}

// actorDir is an actor's own. It works in a directory of that, as a symlink to
// .. is not to lead to where others work too.
func actorDir(i int) string { return fmt.Sprint("actor", i) }
func workDir(i int) string  { return actorDir(i) + "/in" }

// run gives the first difference, or nil.
func (m *model) run(p plan) *difference {
	var d *difference
	// A test of its own, for what it mounts to go with it.
	m.t.Run("", func(t *testing.T) { d = m.runIn(t, p) })
	return d
}

func (m *model) runIn(t *testing.T, p plan) (d *difference) {
	layers := modelLayers(m.uid)
	if m.flavour == overKernel {
		layers = withoutLinks(layers) // which it breaks
	}
	u := newUnion(t, m.flavour, layers...)
	like := newUnion(t, plainDir, layers...)
	defer func() {
		if d != nil {
			d.err = fmt.Errorf("%w\n%s", d.err, u.complaints())
		}
	}()
	for round := range p {
		if d := m.round(u, like, p[round]); d != nil {
			return d
		}
		if d := compareActors(u, like, p[round]); d != nil {
			return d
		}
		if err := u.remount(); err != nil {
			t.Fatal(err)
		}
		if d := compareActors(u, like, p[round]); d != nil {
			d.err = fmt.Errorf("after a remount: %w", d.err)
			return d
		}
	}
	if err := u.umount(); err != nil {
		t.Fatal(err)
	}
	return nil
}

// round has all actors work at once.
func (m *model) round(u, like *union, ops [][]modelOp) *difference {
	differences := make([]*difference, len(ops))
	var wait sync.WaitGroup
	for i := range ops {
		wait.Go(func() {
			g := &ground{union: u}
			got, want := newActor(filepath.Join(u.dir, workDir(i))), newActor(filepath.Join(like.dir, workDir(i)))
			defer got.closeAll()
			defer want.closeAll()
			work := func() {
				for n, o := range ops[i] {
					if m.breaks(o, got) {
						continue
					}
					if want, got := want.do(o), got.do(o); want != got {
						g.failf("operation %d, %v: %s, want %s", n, o, got, want)
					}
				}
			}
			err := attempt(func() {
				if m.uid == 0 {
					work()
				} else {
					g.as(m.uid, m.uid, nil, work)
				}
			})
			if err != nil {
				differences[i] = &difference{i, err}
			}
		})
	}
	wait.Wait()
	for _, d := range differences {
		if d != nil {
			return d
		}
	}
	return nil
}

// breaks are the operations for which a control is known not to be like a
// directory, and so is not asked.
func (m *model) breaks(o modelOp, a *actor) bool {
	if m.flavour == overKernel && (o.kind == "link" || o.kind == "linkfd") {
		return true // the two names are two files to it, each with what it knows of attributes
	}
	// Of a lower file that was opened to be read and deleted since, it says
	// that it has a link.
	return m.flavour.isKernel() && o.kind == "fstat" && a.readOnly(o.slot)
}

// compareActors compares the directories of the actors that have had work.
func compareActors(u, like *union, ops [][]modelOp) *difference {
	return compareTrees(u, like, ops, func(tr tree) tree { return tr })
}

// compareTrees is compareActors of what a function leaves of a tree.
func compareTrees(u, like *union, ops [][]modelOp, what func(tree) tree) *difference {
	for i := range ops {
		if len(ops[i]) == 0 {
			continue
		}
		want, err := readTree(filepath.Join(like.dir, actorDir(i)))
		got, gotErr := readTree(filepath.Join(u.dir, actorDir(i)))
		if err = errors.Join(err, gotErr); err == nil {
			err = compare(what(u.onlySetTimes(want)), what(u.onlySetTimes(got)))
		}
		if err != nil {
			return &difference{i, err}
		}
	}
	return nil
}

// onlySetTimes takes the times away that are the clock's. The kernel changes
// that of a directory below which it has tried to rename another in vain.
func (f flavour) onlySetTimes(tr tree) tree {
	for p, n := range tr {
		if n.Mtime.Sec > 1_500_000_000 || f.isKernel() && n.Mode&unix.S_IFMT == unix.S_IFDIR {
			n.Mtime = unix.Timespec{}
		}
		tr[p] = n
	}
	return tr
}

// shrink keeps the operations of one actor, and of them those without which the
// two would be alike. It is given five minutes.
func (m *model) shrink(p plan, actor int) plan {
	deadline := time.Now().Add(5 * time.Minute)
	var only plan
	for _, ops := range p {
		one := make([][]modelOp, len(ops))
		one[actor] = ops[actor]
		only = append(only, one)
	}
	if m.run(only) == nil {
		return p // it takes several
	}
	for size := modelLength; size > 0; size /= 2 {
		for round := range only {
			for at := 0; at < len(only[round][actor]); {
				if time.Now().After(deadline) {
					return only
				}
				less := only.without(round, actor, at, min(at+size, len(only[round][actor])))
				if m.run(less) != nil {
					only = less
				} else {
					at += size
				}
			}
		}
	}
	return only
}

func (p plan) without(round, actor, from, to int) plan {
	less := slices.Clone(p)
	less[round] = slices.Clone(p[round])
	less[round][actor] = slices.Delete(slices.Clone(p[round][actor]), from, to)
	return less
}

func (p plan) String() string {
	var b strings.Builder
	for round, ops := range p {
		for actor, ops := range ops {
			for _, o := range ops {
				fmt.Fprintf(&b, "\tround %d, actor %d: %v\n", round, actor, o)
			}
		}
	}
	return b.String()
}
