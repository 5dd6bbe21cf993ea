package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// check mounts what the disk has after the power failed, and the union on it,
// and compares.
func (c *powerCut) check(t *testing.T, u *union, cut int64, random *rand.Rand) error {
	h := newHost(t)
	img, at := filepath.Join(h.dir, "img"), filepath.Join(h.dir, "v")
	if err := errors.Join(c.disk.after(img, cut, random), os.Mkdir(at, 0o755)); err != nil {
		return err
	}
	run(t, h.dir, "mount", "-o", "loop", img, at)
	again := *u
	again.h, again.dir = h, filepath.Join(h.dir, "m")
	if u.flavour == plainDir {
		again.dir = filepath.Join(at, "m")
	} else {
		again.upper, again.work = filepath.Join(at, "u"), filepath.Join(at, "w")
		if err := errors.Join(os.Mkdir(again.dir, 0o755), again.mount()); err != nil {
			return err
		}
	}
	var errs []error
	for _, f := range c.files {
		if err := f.check(again.dir, cut); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", f.path, err, f.history()))
		}
	}
	errs = append(errs, again.umount(), unmountFree(at), os.Remove(img))
	return errors.Join(errs...)
}

// history tells all versions, and when each was known to be on disk.
func (f *cutFile) history() (s string) {
	for i, v := range f.versions {
		s += fmt.Sprintf("\t%d: %s, %d pages of version %d, mode %#o, on disk at %d\n", i, v.how, v.pages, v.content, v.mode, v.acked)
	}
	return s
}

// check reports whether a file is what it may be after the power failed: the
// last version that was known to be on disk then, or one that came later.
func (f *cutFile) check(root string, cut int64) error {
	first := 0
	for i, v := range f.versions {
		if v.acked > 0 && v.acked <= cut {
			first = i
		}
	}
	path := filepath.Join(root, f.path)
	var st unix.Stat_t
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		for _, v := range f.versions[first:] {
			if v.pages == 0 {
				return nil
			}
		}
		return fmt.Errorf("is not there; version %d was", first)
	}
	if err := errors.Join(err, unix.Stat(path, &st)); err != nil {
		return err
	}
	for i := first; i < len(f.versions); i++ {
		if f.mayBe(i, string(text), st.Mode&0o7777) {
			return nil
		}
	}
	return fmt.Errorf("%d bytes, mode %#o, beginning with %.40q: no version from %d on", len(text), st.Mode&0o7777, text, first)
}

// mayBe reports whether a file is of a version, some pages of it perhaps of
// those that were written over it, and with the mode of one of these.
func (f *cutFile) mayBe(number int, text string, mode uint32) bool {
	v := f.versions[number]
	if v.pages == 0 || len(text) != v.pages*cutPage {
		return false
	}
	want := make([]map[string]bool, v.pages)
	for i := range want {
		want[i] = map[string]bool{}
	}
	modes := map[uint32]bool{}
	for i := number; i < len(f.versions); i++ {
		later := f.versions[i]
		if i > number && (later.pages == 0 || later.content == i && !later.inPlace) {
			break // another file
		}
		modes[later.mode] = true
		full := cutText(f.path, later.content, v.pages)
		for p := range want {
			want[p][full[p*cutPage:(p+1)*cutPage]] = true
		}
	}
	for p := range want {
		if !want[p][text[p*cutPage:(p+1)*cutPage]] {
			return false
		}
	}
	return modes[mode]
}
