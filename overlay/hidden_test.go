package overlay

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// bytesSource is a blob in memory.
type bytesSource struct {
	*bytes.Reader
	id string
}

func (b *bytesSource) ID() string { return b.id }

// Place tells one source from another.
func (b *bytesSource) Place() string { return fmt.Sprintf("%p", b) }

// tarLayer makes a plain layer of files, whose contents are their names.
func tarLayer(t testing.TB, history string, names ...string) Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(name))}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, name)
		}
	}
	w.Close()
	sum := sha256.Sum256(b.Bytes())
	id := "sha256:" + hex.EncodeToString(sum[:])
	src := &bytesSource{bytes.NewReader(b.Bytes()), id}
	return Layer{History: history, Spec: layerstore.Spec{Blob: src, Digest: id, DiffID: id}}
}

func TestHidden(t *testing.T) {
	layers := []Layer{
		tarLayer(t, "first", "etc/", "etc/a", "etc/b"),
		tarLayer(t, "second", "etc/.wh.a", "etc/c"),
	}
	img, err := OpenImage(t.Context(), layerstore.Open(t.TempDir()), layers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHidden(img, []HiddenFile{{Name: "config.json", Data: []byte("{}")}, {Name: "history.json", Data: []byte("[]")}})
	defer func() {
		if err := errors.Join(h.Close(), img.Close()); err != nil {
			t.Error(err)
		}
	}()
	find := func(path string) (Attr, error) {
		a, err := h.Attr(Root)
		for _, name := range strings.Split(path, "/") {
			if err != nil {
				return a, err
			}
			a, err = h.Lookup(a.ID, name)
		}
		return a, err
	}
	for path, want := range map[string]string{ // contents; "" is a directory, "-" is not there
		"etc/b": "etc/b", "etc/a": "-",
		".mica": "", ".mica/layers": "", ".mica/at": "", ".mica/x": "-",
		".mica/config.json": "{}", ".mica/history.json": "[]",
		".mica/layers/1/etc/a": "etc/a", ".mica/layers/1/etc/c": "-",
		".mica/layers/2/etc/c": "etc/c", ".mica/layers/2/etc/b": "-", ".mica/layers/2/etc/.wh.a": "0",
		".mica/at/1/etc/a": "etc/a", ".mica/at/1/etc/c": "-",
		".mica/at/2/etc/c": "etc/c", ".mica/at/2/etc/a": "-",
		".mica/at/0": "-", ".mica/at/3": "-", ".mica/at/01": "-", ".mica/at/x": "-",
		".mica/at/1/.mica": "-",
	} {
		a, err := find(path)
		if want == "-" {
			if !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("%s: %+v, %v; want none", path, a, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		release, ready := h.Hold(a.ID)
		if !ready {
			t.Fatalf("%s: found, and not ready", path)
		}
		release()
		if again, err := h.Attr(a.ID); err != nil || again != a {
			t.Errorf("%s: Attr = %+v, %v; Lookup gave %+v", path, again, err, a)
		}
		if a.Mode&unix.S_IFMT == unix.S_IFDIR {
			checkDir(t, h, path, a.ID)
			if want != "" {
				t.Errorf("%s is a directory", path)
			}
			continue
		}
		got := make([]byte, a.Size)
		if n, err := h.ReadAt(t.Context(), a.ID, got, 0); n != len(got) || err != nil && err != io.EOF {
			t.Errorf("%s: ReadAt = %d, %v", path, n, err)
		}
		if want != "0" && string(got) != want || want == "0" && a.Size != 0 {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if err := h.ReadDir(Root, 0, func(name string, _ Attr, _ uint64) bool {
		if name == HiddenName {
			t.Error("the hidden directory is listed")
		}
		return true
	}); err != nil {
		t.Error(err)
	}
}

// TestHiddenLive: what was looked up stays as it was, and is another node each
// time; a listing makes none.
func TestHiddenLive(t *testing.T) {
	img, err := OpenImage(t.Context(), layerstore.Open(t.TempDir()), []Layer{tarLayer(t, "", "a")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	h := NewHidden(img, []HiddenFile{{Name: "count", Live: func() []byte { n++; return fmt.Append(nil, n) }}})
	defer func() {
		if err := errors.Join(h.Close(), img.Close()); err != nil {
			t.Error(err)
		}
	}()
	read := func(a Attr) string {
		b := make([]byte, a.Size+1)
		n, err := h.ReadAt(t.Context(), a.ID, b, 0)
		if err != nil && err != io.EOF {
			return err.Error()
		}
		return string(b[:n])
	}
	seen := map[NodeID]bool{}
	var first Attr
	for i := 1; i <= keptSnapshots+1; i++ {
		a, err := h.Lookup(hiddenDir, "count")
		if err != nil || a.Size != int64(len(fmt.Sprint(i))) || seen[a.ID] || !h.Fleeting(a.ID) {
			t.Fatalf("look-up %d: %+v, %v", i, a, err)
		}
		if seen[a.ID] = true; i == 1 {
			first = a
		}
		if got := read(a); got != fmt.Sprint(i) {
			t.Errorf("look-up %d reads %q", i, got)
		}
		if err := h.ReadDir(hiddenDir, 0, func(string, Attr, uint64) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if i == keptSnapshots && read(first) != "1" {
			t.Errorf("the first reads %q later", read(first))
		}
	}
	if got := read(first); got != fmt.Sprint(n) {
		t.Errorf("the first of %d: %q, want what is now", keptSnapshots+1, got)
	}
}

// checkDir holds what a directory lists against what is found by name.
func checkDir(t *testing.T, h *Hidden, path string, dir NodeID) {
	t.Helper()
	var names []string
	err := h.ReadDir(dir, 0, func(name string, a Attr, _ uint64) bool {
		names = append(names, name)
		if b, err := h.Lookup(dir, name); err != nil || a != b {
			t.Errorf("%s/%s: ReadDir gives %+v, Lookup %+v, %v", path, name, a, b, err)
		}
		if a.Mode&unix.S_IFMT == unix.S_IFDIR {
			if p, err := h.Parent(a.ID); err != nil || p != dir {
				t.Errorf("Parent of %s/%s = %d, %v; want %d", path, name, p, err, dir)
			}
		}
		return true
	})
	if err != nil || slices.Contains(names, "") {
		t.Errorf("%s: ReadDir gives %q, %v", path, names, err)
	}
}

// A deferred image shows its names at once and its contents once it is proven.
func TestDeferred(t *testing.T) {
	big := strings.Repeat("x", 250)
	var names []string
	for i := range deferFrom/1024 + 1 {
		names = append(names, big[:200]+strings.Repeat("y", i%50)+string(rune('a'+i%26))+hex.EncodeToString([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
	}
	layer := tarLayer(t, "", names...)
	store := layerstore.Open(t.TempDir())
	genuine := layer
	for _, damaged := range []bool{true, false} {
		layer := genuine
		if damaged { // the same promise, and something else behind it
			other := tarLayer(t, "", append(names, "evil")...)
			layer.Blob = &bytesSource{other.Blob.(*bytesSource).Reader, genuine.Digest}
		}
		img, err := OpenImage(t.Context(), store, []Layer{layer}, Options{Defer: true})
		if err != nil {
			t.Fatal(err)
		}
		if img.proof == nil {
			t.Fatal("the image was not deferred")
		}
		if _, err := img.Lookup(Root, "evil"); (err == nil) != damaged {
			t.Errorf("damaged %v: Lookup of what only the damaged one has: %v", damaged, err)
		}
		a, err := img.Lookup(Root, names[0])
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, a.Size)
		n, err := img.ReadAt(t.Context(), a.ID, buf, 0)
		if damaged && (n != 0 || err == nil) {
			t.Errorf("ReadAt of another layer than promised: %d, %v; want an error", n, err)
		}
		if !damaged && (string(buf[:n]) != names[0] || img.Verified(t.Context()) != nil) {
			t.Errorf("ReadAt = %q, %v; want %q", buf[:n], err, names[0])
		}
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}
}
