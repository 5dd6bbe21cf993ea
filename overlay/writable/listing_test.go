package writable

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOrderOfNames reads a directory in parts while names come and go: each name
// that is there throughout is read once.
func TestOrderOfNames(t *testing.T) {
	v := &View{seed: 42}
	n := &node{mode: unix.S_IFDIR, list: &listing{names: map[string]listed{}}}
	const steady = 1000
	for i := range steady {
		n.listed(fmt.Sprint("steady", i), unix.S_IFREG)
	}
	r := rand.New(rand.NewPCG(3, 4))
	seen := map[string]int{}
	for from, more := uint64(0), true; more; {
		order := v.inOrder(n.list)
		more = false
		at := sort.Search(len(order), func(i int) bool { return order[i].hash >= from })
		for i, e := range order[at:] {
			if i == 7 {
				more = true
				break
			}
			if _, ok := n.list.names[e.name]; ok {
				seen[e.name]++
			}
			from = e.hash + 1
		}
		for range 3 {
			name := fmt.Sprint("passing", r.IntN(50))
			n.listed(name, []uint32{unix.S_IFREG, entryNone, entryWhiteout}[r.IntN(3)])
		}
	}
	for i := range steady {
		if name := fmt.Sprint("steady", i); seen[name] != 1 {
			t.Errorf("%s was read %d times", name, seen[name])
		}
	}
	for name, times := range seen {
		if times > 1 {
			t.Errorf("%s was read %d times", name, times)
		}
	}
}

// TestNamesOfOneHash have places of their own.
func TestNamesOfOneHash(t *testing.T) {
	v := &View{}
	l := &listing{names: map[string]listed{}, sorted: false}
	for i := range 100 {
		name := fmt.Sprint(i)
		l.names[name] = listed{name: name}
	}
	order := v.inOrder(l)
	for i := 1; i < len(order); i++ {
		if order[i].hash <= order[i-1].hash {
			t.Fatalf("%q at %d, %q at %d", order[i-1].name, order[i-1].hash, order[i].name, order[i].hash)
		}
	}
}
