package e2e

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const interchangeSeeds = 3

// TestInterchange has an upper go from hand to hand: what one has left of random
// operations the other must see as it was, and go on with. No file of the lower
// has two names, as the kernel keeps these together only in an index of its own
// (index=on), which is not what others make.
func TestInterchange(t *testing.T) {
	both := func(f flavour) [][2]flavour { return [][2]flavour{{f, kernel}, {kernel, f}} }
	eachHands(t, both, func(t *testing.T, hands [2]flavour, seed uint64) *difference {
		return interchange(t, hands, newPlan(seed), withoutLinks(modelLayers(0)), compareActors)
	})
}

// TestInterchangeOfLinks has the kernel see what became of files of the lower
// with several names. How many names there are it takes from the lower.
func TestInterchangeOfLinks(t *testing.T) {
	first := func(f flavour) [][2]flavour { return [][2]flavour{{f, kernel}} }
	eachHands(t, first, func(t *testing.T, hands [2]flavour, seed uint64) *difference {
		return interchange(t, hands, newPlan(seed)[:1], modelLayers(0), func(u, like *union, ops [][]modelOp) *difference {
			return compareTrees(u, like, ops, func(tr tree) tree {
				for p, n := range tr {
					n.Nlink, n.Group = 0, ""
					tr[p] = n
				}
				return tr
			})
		})
	})
}

func withoutLinks(layers [][]entry) (without [][]entry) {
	for _, l := range layers {
		without = append(without, slices.DeleteFunc(l, func(e entry) bool { return e.h.Typeflag == tar.TypeLink }))
	}
	return without
}

// eachHands does something in the hands that are given for each flavour but the
// kernel, which breaks links and is no control.
func eachHands(t *testing.T, hands func(flavour) [][2]flavour, do func(*testing.T, [2]flavour, uint64) *difference) {
	needRoot(t)
	first := uint64(envInt(t, historySeedEnv, 1))
	for _, f := range flavours() {
		if !f.isMica() {
			continue
		}
		for _, hands := range hands(f) {
			t.Run(fmt.Sprintf("%s, then %s", hands[0], hands[1]), func(t *testing.T) {
				t.Parallel()
				for seed := first; seed < first+interchangeSeeds; seed++ {
					if d := do(t, hands, seed); d != nil {
						t.Fatalf("seed %d: %v", seed, d)
					}
				}
			})
		}
	}
}

// interchange does each round of a plan in other hands than the one before.
func interchange(t *testing.T, hands [2]flavour, p plan, layers [][]entry, compare func(u, like *union, ops [][]modelOp) *difference) *difference {
	h := newHost(t)
	u := &union{flavour: hands[0], h: h, dir: filepath.Join(h.dir, "m"), upper: filepath.Join(h.dir, "u"), work: filepath.Join(h.dir, "w"), index: "off"}
	lowers := map[bool]string{}
	for _, f := range hands {
		image := f.ofImage()
		if _, ok := lowers[image]; ok {
			continue
		}
		lower, err := putLower(h.dir, f, layers)
		if err != nil {
			t.Fatal(err)
		}
		lowers[image] = lower
	}
	like := newUnion(t, plainDir, layers...)
	u.lower = lowers[hands[0].ofImage()]
	if err := errors.Join(os.Mkdir(u.dir, 0o755), os.Mkdir(u.upper, 0o755), os.Mkdir(u.work, 0o755), u.mount()); err != nil {
		t.Fatal(err)
	}
	for i, ops := range p {
		m := &model{t: t, flavour: u.flavour}
		if d := m.round(u, like, ops); d != nil {
			return d
		}
		if err := u.umount(); err != nil {
			t.Fatal(err)
		}
		from := u.flavour
		u.flavour = hands[(i+1)%2]
		u.lower = lowers[u.flavour.ofImage()]
		if err := u.mount(); err != nil {
			t.Fatal(err)
		}
		if d := compare(u, like, ops); d != nil {
			d.err = fmt.Errorf("round %d, %s has of what %s left: %w\n%s", i, u.flavour, from, d.err, u.complaints())
			return d
		}
	}
	return nil
}
