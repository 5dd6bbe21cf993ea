package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A rule is one of SEMANTICS.md: its number there and what it is about.
type rule struct {
	about  string
	layers [][]entry // what is in the rule's directory, bottom first
	// raw are more entries of the bottom layer, which have to know the rule's
	// directory.
	raw func(root string) []entry
	// alone is a rule that mounts anew, and so cannot share a mount.
	alone bool
	// not says why a flavour breaks the rule, or has none to keep.
	not map[flavour]string
	do  func(*ground)
}

// rules are in files named after what they are about.
func rules() []rule {
	return slices.Concat(layerRules(), copyUpRules(), linkRules(), nameRules(), directoryRules(), dataRules(),
		accessRules(), specialRules(), bugRules())
}

// one is the lower of most rules: a single layer.
func one(entries ...entry) [][]entry { return [][]entry{entries} }

// TestRules tries each rule over each flavour. All but a few share one mount, in
// directories of their own, and run side by side.
func TestRules(t *testing.T) {
	for _, f := range andByKernel(flavours()) {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			testRules(t, f)
		})
	}
}

func testRules(t *testing.T, f flavour) {
	var layers [][]entry
	roots := map[string]string{}
	for i, r := range rules() {
		if _, ok := roots[r.about]; ok {
			t.Fatalf("two rules: %s", r.about)
		}
		number, _, _ := strings.Cut(r.about, " ")
		roots[r.about] = fmt.Sprintf("%s-%d", number, i)
		if !r.alone {
			layers = addLayers(layers, r.below(roots[r.about]))
		}
	}
	shared := newUnion(t, f, layers...)
	for _, r := range rules() {
		t.Run(r.about, func(t *testing.T) {
			t.Parallel()
			u, err := shared, error(nil)
			if r.alone {
				u, err = tryUnion(t, f, r.below(roots[r.about])...)
			}
			if err == nil {
				err = (&ground{union: u, root: roots[r.about]}).try(r.do)
			}
			why, ok := r.not[f]
			if f == overKernel && !ok {
				if why, ok = r.not[kernel]; !ok {
					why, ok = kernelBreaks[r.about]
				}
			}
			if ok {
				t.Logf("%s: %s; here: %v", f, why, err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// below gives the rule's layers with all their entries in one directory.
func (r rule) below(root string) [][]entry {
	layers := [][]entry{{dir(root)}}
	if r.raw != nil {
		layers[0] = append(layers[0], r.raw(root)...)
	}
	for i, l := range r.layers {
		if i == len(layers) {
			layers = append(layers, nil)
		}
		for _, e := range l {
			layers[i] = append(layers[i], e.in(root))
		}
	}
	return layers
}

// addLayers puts layers on a level with others.
func addLayers(to, layers [][]entry) [][]entry {
	for i, l := range layers {
		if i == len(to) {
			to = append(to, nil)
		}
		to[i] = append(to[i], l...)
	}
	return to
}

// kernelBreaks are the rules that the kernel's overlayfs breaks over a mount of
// mica's, besides those that it breaks over directories (rule.not): it is given no
// file handles, as it would take what it finds by them for stale.
var kernelBreaks = map[string]string{
	"1.6 readdir has the inode numbers and types that stat has":     "a number is another after a copy-up",
	"3.3 inode numbers stay over a remount":                         "a number is another after a copy-up",
	"4.2 a write by one name is seen by the other":                  "names of one lower file part at a copy-up",
	"4.3 same number, same data: chmod too goes by all names":       "names of one lower file part at a copy-up",
	"4.4 a link to a lower file":                                    "a number is another after a copy-up",
	"4.5 link, unlink and rename among lower links":                 "names of one lower file part at a copy-up",
	"4.5 unlink of a lower link lowers the count":                   "the count is the lower's",
	"4.6 links to what is no regular file":                          "a number is another after a copy-up",
	"4.8 one device number, no inode number twice":                  "the lower has a device number of its own",
	"5.4 rename over targets of the lower, of the upper and merged": "names of one lower file part at a copy-up",
}
