package overlay

import (
	"fmt"

	"mica/layerstore/toc"
)

// A pendingLink is a hard link whose target had not come yet.
type pendingLink struct {
	path, target string
	// newest is the dent that the path had when the link came, dead or alive,
	// or 0: if it has another one later, that is what it stands for.
	newest uint32
}

// What is pending is held in memory. A tar that was written in order has none.
const (
	maxPending      = 1 << 18
	maxPendingPaths = 32 << 20 // bytes of their paths
)

// wait notes a link for the end of the layer.
func (m *merger) wait(l pendingLink) error {
	m.waiting += len(l.path) + len(l.target)
	switch {
	case len(m.pending) >= maxPending:
		return toc.OverLimit("more than %d hard links of the layer come before their files", maxPending)
	case m.waiting > maxPendingPaths:
		return toc.OverLimit("more than %d MiB of names of hard links of the layer come before their files", maxPendingPaths>>20)
	}
	m.pending = append(m.pending, l)
	return nil
}

// maxLinkPasses is how often what is pending is gone through: once is enough
// unless a target's path goes through symlinks that are hard links themselves.
const maxLinkPasses = 4

// linkPending makes the links that came before their targets, those first that
// others refer to.
func (m *merger) linkPending() error {
	for range maxLinkPasses {
		links := m.pending
		if len(links) == 0 {
			return nil
		}
		m.pending, m.waiting = nil, 0
		for _, i := range targetsFirst(links) {
			l := links[i]
			dir, base := splitPath(l.path)
			parent, err := m.parent(dir)
			if err != nil {
				return fmt.Errorf("%q: %w", l.path, err)
			}
			if m.newest(parent, base) != l.newest {
				continue // something came later in the tar, and wins
			}
			if err := m.place(&toc.Entry{Path: l.path, Type: toc.Hardlink, Link: l.target}); err != nil {
				return fmt.Errorf("%q: %w", l.path, err)
			}
		}
		if len(m.pending) == len(links) {
			break
		}
	}
	if len(m.pending) > 0 {
		l := m.pending[0]
		return fmt.Errorf("%q: hard link to %q, which is in no layer", l.path, l.target)
	}
	return nil
}

// targetsFirst gives the numbers of links in an order in which a link that
// another one refers to by its path comes before it. Of links that go round it
// gives any order.
func targetsFirst(links []pendingLink) []int {
	byPath := make(map[string]int, len(links))
	seen := make([]bool, len(links))
	for i, l := range links {
		if before, twice := byPath[l.path]; twice {
			seen[before] = true // the last of a path wins
		}
		byPath[l.path] = i
	}
	order := make([]int, 0, len(links))
	var chain []int
	for i := range links {
		for ok := true; ok && !seen[i]; i, ok = byPath[links[i].target] {
			seen[i] = true
			chain = append(chain, i)
		}
		for len(chain) > 0 {
			order = append(order, chain[len(chain)-1])
			chain = chain[:len(chain)-1]
		}
	}
	return order
}
