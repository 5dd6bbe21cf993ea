package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A hostileImage is one that wants more than it should have.
type hostileImage struct {
	about   string
	layers  func() []blobLayer
	refused string // a part of the error; "" is served
	notes   string // a part of what is said besides
	check   func(t *testing.T, mnt string)
}

func hostileImages() []hostileImage {
	one := func(entries ...entry) func() []blobLayer {
		return func() []blobLayer { return []blobLayer{gzipLayer(layerOf(entries...))} }
	}
	many := func(n int, each func(i int) entry) func() []blobLayer {
		entries := make([]entry, n)
		for i := range entries {
			entries[i] = each(i)
		}
		return one(entries...)
	}
	return []hostileImage{
		{about: "200,000 files, each of another owner", layers: many(200_000, func(i int) entry {
			return file(fmt.Sprintf("d%d/%d of many", i/1000, i), "").own(i, i)
		}), check: func(t *testing.T, mnt string) {
			if got := run(t, mnt, "stat", "-c", "%u", "d123/123777 of many"); got != "123777\n" {
				t.Errorf("the owner of one of them: %q", got)
			}
		}},
		{about: "200,000 names of one file in one directory", layers: many(200_000, func(i int) entry {
			if i == 0 {
				return file("f", "x")
			}
			return hardlink(strconv.Itoa(i), "f")
		}), check: func(t *testing.T, mnt string) {
			if got := run(t, mnt, "stat", "-c", "%h", "199999"); got != "200000\n" {
				t.Errorf("links: %q", got)
			}
		}},
		{about: "300,000 whiteouts", layers: many(300_000, func(i int) entry {
			if i == 0 {
				return file("d/f", "x")
			}
			return deleted(fmt.Sprintf("d/%x", sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})))
		}), check: func(t *testing.T, mnt string) {
			if got := run(t, mnt, "sh", "-c", "ls -A d; ls -f .mica/layers/1/d | wc -l"); got != "f\n300002\n" {
				t.Errorf("it has %q", got)
			}
		}},
		{about: "300,000 hard links to a file that follows", layers: many(300_001, func(i int) entry {
			if i == 300_000 {
				return file("f", "x")
			}
			return hardlink(strconv.Itoa(i), "f")
		}), refused: "more than 262144 hard links of the layer come before their files"},
		{about: "a path of 10,000 directories", layers: one(file(strings.Repeat("d/", 10_000)+"f", "x"), file("g", "y")), notes: "name too long for Linux: left out"},
		{about: "an attribute of 100 MB", layers: one(pax("SCHILY.xattr.user.a", strings.Repeat("x", 100_000_000)), file("f", "").ustar()), refused: "at most 4194304 are read"},
		{about: "4 GB of a global attribute, as its size says", layers: one(raw(rawHeader('g', "g", 1<<32-1), "")), refused: "at most 4194304 are read"},
		{about: "another long attribute for each file", layers: many(2000, func(i int) entry {
			return file(strconv.Itoa(i), "").xattr("user.a", strings.Repeat(strconv.Itoa(i), 8000))
		}), refused: "of extended attributes in the image"},
		{about: "1,000 layers", layers: func() (all []blobLayer) {
			for i := range 1000 {
				all = append(all, gzipLayer(layerOf(file(strconv.Itoa(i), "x"), file("last", strconv.Itoa(i)))))
			}
			return all
		}, check: func(t *testing.T, mnt string) {
			if got := run(t, mnt, "sh", "-c", "cat last; ls | wc -l; cat 1* | wc -c"); got != "9991001\n111\n" {
				t.Errorf("it has %q", got)
			}
		}},
		{about: "symlinks in a ring, and an entry below them", layers: one(symlink("a", "b"), symlink("b", "a"), file("a/f", "x")), refused: `"a/f": too many levels of symbolic links`},
		{about: "hard links in a ring", layers: one(hardlink("a", "b"), hardlink("b", "a")), refused: "which is in no layer"},
		{about: "an entry out of the root", layers: one(file("a/../../f", "x")), refused: "leads out of the root"},
		{about: "a size of 8 EiB", layers: one(pax("size", "9223372036854775807"), file("f", "x").ustar()), refused: "9223372036854775807 bytes of data"},
		{about: "a negative size", layers: one(pax("size", "-1"), file("f", "x").ustar()), refused: "layer 1: tar: "},
	}
}

func gzipLayer(l layer) blobLayer { return blobLayer{l, gzipped.pack(l), layerTypes[gzipped]} }

// TestHostile mounts each, or is refused, with a bounded amount of memory.
func TestHostile(t *testing.T) {
	needFUSE(t)
	for _, im := range hostileImages() {
		t.Run(im.about, func(t *testing.T) {
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			if err := writeBlobs(layout, im.layers()...); err != nil {
				t.Fatal(err)
			}
			h.mountHostile(layout, im.refused, im.notes, im.check)
		})
	}
}

// TestBombs mounts a gigabyte that is a megabyte when compressed.
func TestBombs(t *testing.T) {
	needFUSE(t)
	const part, parts = 64 << 20, 16
	whole := layerOf(file("zeros", "").raw8(part * parts))
	head, tail := whole[:512], whole[512:]
	for _, c := range []codec{gzipped, zstdFast} {
		t.Run(string(c), func(t *testing.T) {
			zeros := make([]byte, part)
			diffID := sha256.New()
			diffID.Write(head)
			for range parts {
				diffID.Write(zeros)
			}
			diffID.Write(tail)
			blob := append(c.pack(head), bytes.Repeat(c.pack(zeros), parts)...)
			blob = append(blob, c.pack(tail)...)
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			if err := writeBomb(layout, blob, layerTypes[c], digest.NewDigest(digest.SHA256, diffID)); err != nil {
				t.Fatal(err)
			}
			h.mountHostile(layout, "", "", func(t *testing.T, mnt string) {
				if got := run(t, mnt, "sh", "-c", "stat -c %s zeros; tail -c 100000000 zeros | tr -d '\\0' | wc -c"); got != "1073741824\n0\n" {
					t.Errorf("it has %q", got)
				}
			})
		})
	}
}

// raw8 is the header of a file of that size, without its data.
func (e entry) raw8(size int) entry { return raw(rawHeader('0', e.h.Name, size), "") }

// writeBomb writes an OCI layout of a layer that is too long to be made.
func writeBomb(dir string, blob []byte, mediaType string, diffID digest.Digest) error {
	lo := layout{}
	c := bareConfig()
	c.RootFS.DiffIDs = []digest.Digest{diffID}
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    lo.blob(v1.MediaTypeImageConfig, toJSON(c)),
		Layers:    []v1.Descriptor{lo.blob(mediaType, blob)},
	}
	lo.point(lo.blob(m.MediaType, toJSON(m)))
	return lo.write(dir)
}

// mountHostile mounts an image in one process and watches the memory that it
// has for itself; what is mapped from files the kernel can take back.
func (h *host) mountHostile(image, refused, notes string, check func(t *testing.T, mnt string)) {
	t := h.t
	t.Helper()
	cmd, dir, stderr, done := h.foreground(image)
	watch := watchMemory(cmd.Process.Pid)
	until(t, "it is mounted", func() bool {
		mounts, err := mountsBelow(h.dir)
		return err == nil && len(mounts) > 0 || ended(cmd.Process.Pid)
	})
	mounts, err := mountsBelow(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	if served := len(mounts) > 0; served && check != nil {
		check(t, dir)
	} else if served != (refused == "") {
		t.Errorf("served: %v", served)
	}
	most := watch()
	t.Logf("most private memory: %d MB", most>>20)
	if most > mostMemory {
		t.Errorf("%d MB of private memory, want at most %d", most>>20, mostMemory>>20)
	}
	if len(mounts) > 0 {
		h.mica("umount", dir)
	}
	if err := <-done; (err == nil) != (refused == "") {
		t.Errorf("mount: %v", err)
	}
	if said := stderr.String(); !strings.Contains(said, refused) || !strings.Contains(said, notes) {
		t.Errorf("mica says %.500q, want %q", said, refused+notes)
	}
}

// watchMemory looks at a process until stop, which gives the most private memory
// that it had.
func watchMemory(pid int) (stop func() int64) {
	ended, most := make(chan struct{}), make(chan int64)
	go func() {
		var n int64
		for {
			n = max(n, private(pid))
			select {
			case <-ended:
				most <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(ended)
		return <-most
	}
}

// private gives the bytes of memory that are a process's own, 0 if it is gone.
func private(pid int) (sum int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		name, kb, _ := strings.Cut(line, ":")
		if name == "RssAnon" || name == "RssShmem" {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			sum += n << 10
		}
	}
	return sum
}
