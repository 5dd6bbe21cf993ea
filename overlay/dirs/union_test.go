package dirs

import (
	"strconv"
	"strings"
	"testing"
)

// TestUnion is how layers, topmost first, look together. The rows are rules of
// SEMANTICS 1 and 10; e2e compares random layers with the kernel's overlayfs.
func TestUnion(t *testing.T) {
	for _, tt := range []struct {
		about  string
		layers []layer
		want   layer
	}{
		{"one layer", []layer{"d/ \n d/f = 1 \n l -> d/f"}, "d/ \n d/f = 1 \n l -> d/f"},
		{"an empty one above", []layer{"", "f = 1"}, "f = 1"},
		{"directories merge, files hide", []layer{"d/f = 2 \n d/g = 2", "d/f = 1 \n d/h = 1"}, "d/ \n d/f = 2 \n d/g = 2 \n d/h = 1"},
		{"file over directory", []layer{"a = 2", "a/f = 1"}, "a = 2"},
		{"symlink over directory", []layer{"a -> b", "a/f = 1 \n b/g = 1"}, "a -> b \n b/ \n b/g = 1"},
		{"directory over file", []layer{"a/f = 2", "a = 1"}, "a/ \n a/f = 2"},
		{"a file in between hides what is below it", []layer{"a/f = 3", "a = 2", "a/g = 1"}, "a/ \n a/f = 3"},
		{"whiteout of a file", []layer{"! a", "a = 1 \n b = 1"}, "b = 1"},
		{"whiteout of a directory", []layer{"! a", "a/b/f = 1"}, ""},
		{"whiteout in a merged directory", []layer{"d/f = 2 \n ! d/g", "d/g = 1 \n d/h = 1"}, "d/ \n d/f = 2 \n d/h = 1"},
		{"whiteout in the lowest layer", []layer{"f = 2", "! g"}, "f = 2"},
		{"whiteout in between, made again above", []layer{"a = 3", "! a", "a = 1"}, "a = 3"},
		{"a directory over a whiteout does not merge", []layer{"a/f = 3", "! a", "a/g = 1"}, "a/ \n a/f = 3"},
		{"a whiteout that is a file", []layer{"!x d/f \n d/g =", "d/f = 1 \n d/h = 1"}, "d/ \n d/g = \n d/h = 1"},
		{"such a file is one where nothing says so", []layer{"e/f = \n @ e/f overlay.whiteout y", "e/f = 1"}, "e/ \n e/f ="},
		{"opaque", []layer{"d/f = 2 \n @ d overlay.opaque y", "d/g = 1 \n d/e/ \n h = 1"}, "d/ \n d/f = 2 \n h = 1"},
		{"opaque in between", []layer{"d/f = 3", "d/g = 2 \n @ d overlay.opaque y", "d/h = 1"}, "d/ \n d/f = 3 \n d/g = 2"},
		{"below opaque nothing of the lower", []layer{"d/e/f = 2 \n @ d overlay.opaque y", "d/e/g = 1"}, "d/ \n d/e/ \n d/e/f = 2"},
		{"an opaque root", []layer{"f = 2 \n @ . overlay.opaque y", "g = 1"}, "f = 2"},
		{"redirect to a name beside", []layer{"new/f = 2 \n @ new overlay.redirect old \n ! old", "old/g = 1 \n new/h = 1"}, "new/ \n new/f = 2 \n new/g = 1"},
		{"redirect to a path", []layer{"new/f = 2 \n @ new overlay.redirect /a/b/old", "a/b/old/g = 1 \n new/h = 1"}, "a/ \n a/b/ \n a/b/old/ \n a/b/old/g = 1 \n new/ \n new/f = 2 \n new/g = 1"},
		{"redirect through a redirect", []layer{"c/ \n @ c overlay.redirect /b/x \n ! b", "b/ \n @ b overlay.redirect a \n ! a \n b/x/f = 2", "a/x/g = 1 \n b/x/h = 1"}, "c/ \n c/f = 2 \n c/g = 1"},
		{"redirect twice", []layer{"c/f = 3 \n @ c overlay.redirect b \n ! b", "b/g = 2 \n @ b overlay.redirect a \n ! a", "a/h = 1 \n b/i = 1 \n c/j = 1"}, "c/ \n c/f = 3 \n c/g = 2 \n c/h = 1"},
		{"redirect to nothing", []layer{"d/f = 2 \n @ d overlay.redirect /no/where", "d/g = 1"}, "d/ \n d/f = 2"},
		{"redirect to a file", []layer{"d/f = 2 \n @ d overlay.redirect /g", "g = 1"}, "d/ \n d/f = 2 \n g = 1"},
		{"a redirected path ends at a whiteout", []layer{"d/ \n @ d overlay.redirect /a/b", "! a", "a/b/f = 1"}, "d/"},
		{"a redirected path ends at an opaque directory", []layer{"d/ \n @ d overlay.redirect /a/b", "a/b/f = 2 \n @ a overlay.opaque y", "a/b/g = 1"}, "a/ \n a/b/ \n a/b/f = 2 \n d/ \n d/f = 2"},
		{"names like those of image layers are names if there is something in them", []layer{".wh.f = 2", "f = 1 \n .wh.g ="}, ".wh.f = 2 \n f = 1"},
		{"whiteouts as image layers have them", []layer{".wh.f = \n .wh.h = \n h/i = 2 \n d/j = 2 \n d/.wh..wh..opq =", "f = 1 \n d/g = 1 \n h/k = 1"}, "d/ \n d/j = 2 \n h/ \n h/i = 2"},
		{"an opaque root as image layers have it", []layer{"f = 2 \n .wh..wh..opq =", "g = 1"}, "f = 2"},
		{"many layers", manyLayers(200), "d/ \n d/f = 0 \n d/last = 199"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			var want strings.Builder
			for line := range strings.Lines(string(tt.want)) {
				want.WriteString(strings.TrimLeft(strings.TrimRight(line, " \n"), " ") + "\n")
			}
			got := shown(t, union(t, made(t, tt.layers...)))
			got = strings.ReplaceAll(got, " \n", "\n")
			if w := strings.Replace(want.String(), "\n\n", "\n", 1); got != w && !(got == "" && w == "\n") {
				t.Errorf("got\n%swant\n%s", got, w)
			}
		})
	}
}

func manyLayers(n int) []layer {
	layers := make([]layer, n)
	for i := range layers {
		layers[i] = layer("d/f = " + strconv.Itoa(i))
	}
	layers[n-1] = "d/f = last \n d/last = " + layer(strconv.Itoa(n-1))
	return layers
}
