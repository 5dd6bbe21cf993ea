package toc

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// FuzzScan holds Scan to what archive/tar reads, and to its own limits.
func FuzzScan(f *testing.F) {
	for _, tt := range scanTests {
		f.Add(tt.layer)
	}
	for _, tt := range sparseTests {
		f.Add(tt.layer)
	}
	f.Fuzz(func(t *testing.T, layer []byte) {
		layer = bytes.Clone(layer) // the fuzzer's own must stay as it is
		fixTarSums(layer)
		checkScan(t, layer)
	})
}

// fixTarSums makes the checksums right again in blocks that look like headers, so
// that a change to one is not found by that alone.
func fixTarSums(layer []byte) {
	for ; len(layer) >= blockSize; layer = layer[blockSize:] {
		if b := (*block)(layer); string(b[257:262]) == "ustar" {
			copy(b[148:156], "        ")
			copy(b[148:156], fmt.Sprintf("%06o\x00 ", b.sum()))
		}
	}
}

// checkScan holds what Scan gives for a layer against the rules, against
// another Source, and against archive/tar.
func checkScan(t *testing.T, layer []byte) {
	t.Helper()
	got, sum, err := scanAll(layer)
	if err != nil && !isFormatError(err) {
		t.Fatalf("Scan: %v (%T), want a *FormatError", err, err)
	}
	for _, e := range got {
		checkEntry(t, layer, e)
	}
	var twin []Entry
	twinSum, twinErr := Scan(NewReaderAtSource(bytes.NewReader(layer), int64(len(layer))), func(e *Entry) error { twin = append(twin, *e); return nil })
	if !gocmp.Equal(got, twin) || !gocmp.Equal(sum, twinSum) || (err == nil) != (twinErr == nil) {
		t.Errorf("from a ReaderAt: %+v, %+v, %v\nfrom a Reader: %+v, %+v, %v", twin, twinSum, twinErr, got, sum, err)
	}
	// Where one of the two refuses, TestScanAccepts and TestScanRefuses say why.
	want, data, stdErr := scanStdlib(layer)
	if err != nil || stdErr != nil {
		return
	}
	for i, e := range got {
		if i < len(data) && data[i] != nil && !bytes.Equal(data[i], contents(layer, e)) {
			t.Errorf("contents of %q = %q; archive/tar reads %q", e.Path, contents(layer, e), data[i])
		}
		got[i].Off, got[i].Sparse = 0, nil
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("entries (-archive/tar +Scan):\n%s", d)
	}
}

// TestScanRandom makes tars of parts that go together or do not.
func TestScanRandom(t *testing.T) {
	compared := 0
	for seed := range uint64(2000) {
		layer := randomTar(rand.New(rand.NewPCG(seed, 0)))
		if checkScan(t, layer); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		_, _, err := scanAll(layer)
		if _, _, stdErr := scanStdlib(layer); err == nil && stdErr == nil {
			compared++
		}
	}
	if compared < 800 {
		t.Errorf("%d of 2000 tars are read by both, want 800 at least", compared)
	}
}

func randomTar(rng *rand.Rand) []byte {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	name := func() string {
		return pick("a", "./a", "d/", "d/b", "/d//c/.", "d/.wh.b", "d/.wh..wh..opq", ".wh..wh.plnk/x", "x.wh.y", "\xff", "d/../e", "", strings.Repeat("n", 99)) + pick("", "", "", "/", "/f")
	}
	record := func() []string {
		switch rng.IntN(8) {
		case 0:
			return []string{"path", name()}
		case 1:
			return []string{"linkpath", name()}
		case 2:
			return []string{pick("uid", "gid"), pick("", "5", "+7", "4294967294")}
		case 3:
			return []string{"mtime", pick("", "0", "1.5", "-0.25", "99999999999.9999999999")}
		case 4:
			return []string{"size", pick("", "0", "1", "600")}
		case 5:
			return []string{"GNU.sparse.name", name()}
		default:
			return []string{"SCHILY.xattr." + pick("user.a", "security.capability", "trusted.overlay.opaque", "com.apple.x"), pick("", "x", "\x00=\n")}
		}
	}
	edits := func() []func(*block) {
		return []func(*block){
			set(257, pick("ustar\x0000", "ustar\x0000", "ustar  \x00", "\x00\x00\x00\x00\x00\x00\x00\x00")),
			set(100, pick("0000644", "  7777 ", "\x80\x00\x00\x00\x00\x00\x81\xa4", "100755 ")),
			set(108, pick("0001750", "\x80\x00\x00\x00\xff\xff\xff\xfe", "\x00\x00\x00\x00\x00\x00\x00", "7")),
			set(136, pick("14544261306", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", "")),
			set(157, pick("", "a", "/d/b", "../x", ".wh.x", name())),
			set(329, pick("", "0000001", "0000000", "\x80\x00\x00\x00\x00\x00\x00\x09")),
			set(337, pick("", "0000003", "0000000")),
			set(345, pick("", "", "", "usr/lib", "14544261306\x0014544261306", "0 a")),
			set(508, pick("", "", "tar\x00")),
		}
	}
	var parts [][]byte
	for range 1 + rng.IntN(6) {
		switch rng.IntN(10) {
		case 0:
			parts = append(parts, tarLong(flagGNUName, name()))
		case 1:
			parts = append(parts, tarLong(flagGNULink, name()))
		case 2:
			parts = append(parts, tarGlobal(record()...))
		case 3, 4:
			parts = append(parts, tarPAX(slices.Concat(record(), record(), record())...))
		case 5:
			layer := sparseTests[rng.IntN(len(sparseTests))].layer
			parts = append(parts, layer[:len(layer)-2*blockSize])
		default:
			flag := "\x00001234567VD"[rng.IntN(12)]
			data := strings.Repeat("x", []int{0, 0, 1, 512, 600}[rng.IntN(5)])
			if isData := strings.IndexByte("\x0007VD", flag) >= 0; !isData {
				data = ""
			}
			parts = append(parts, tarEntry(flag, name(), data, edits()...))
		}
	}
	return tarOf(parts...)
}

// checkEntry proves what Entry's documentation says.
func checkEntry(t *testing.T, layer []byte, e Entry) {
	t.Helper()
	if e.Path != "" && path.Clean("/"+e.Path) != "/"+e.Path || strings.Contains(e.Path, "\x00") {
		t.Errorf("path %q is not clean", e.Path)
	}
	stored := e.Size
	if e.Sparse != nil {
		stored = 0
		end := int64(-1)
		for _, x := range e.Sparse {
			if x.Off <= end || x.Len <= 0 || x.Off+x.Len > e.Size {
				t.Errorf("%q of %d bytes: extent %+v after %d", e.Path, e.Size, x, end)
			}
			end = x.Off + x.Len
			stored += x.Len
		}
	}
	if e.Off < 0 || e.Size < 0 || stored > int64(len(layer))-e.Off {
		t.Errorf("%q: data [%d, +%d) outside of %d bytes", e.Path, e.Off, stored, len(layer))
	}
	if e.Type < Regular || e.Type > Opaque || e.Type != Regular && e.Size != 0 || e.Mode&^0o7777 != 0 || e.Mtime.Nsec >= 1e9 {
		t.Errorf("%+v breaks a rule", e)
	}
	if !slices.IsSortedFunc(e.Xattrs, func(a, b Xattr) int { return cmp.Or(strings.Compare(a.Name, b.Name), 1) }) {
		t.Errorf("%q: attributes %v are not sorted, or stand twice", e.Path, e.Xattrs)
	}
}

var errNotComparable = errors.New("archive/tar has another view of this")

// scanStdlib reads a tar with archive/tar and makes of it what Scan should, but
// for Off and Sparse. data are the contents of small files, nil for other
// entries.
func scanStdlib(layer []byte) (all []Entry, data [][]byte, err error) {
	r := tar.NewReader(bytes.NewReader(layer))
	global := map[string]string{}
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all, data, nil
		}
		if err != nil {
			return all, data, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			maps.Copy(global, h.PAXRecords)
			continue
		}
		e, keep, err := fromStdlib(h, global)
		if err != nil {
			return all, data, err
		}
		var b []byte
		if e.Type == Regular && e.Size < 1<<16 {
			if b, err = io.ReadAll(r); err != nil {
				return all, data, err
			}
		}
		if keep {
			all, data = append(all, e), append(data, b)
		}
	}
}

func fromStdlib(h *tar.Header, global map[string]string) (e Entry, keep bool, err error) {
	types := map[byte]Type{
		tar.TypeReg: Regular, tar.TypeCont: Regular, tar.TypeGNUSparse: Regular, tar.TypeDir: Dir, tar.TypeFifo: Fifo,
		tar.TypeLink: Hardlink, tar.TypeSymlink: Symlink, tar.TypeChar: Char, tar.TypeBlock: Block,
	}
	e = Entry{
		Path: strings.TrimPrefix(path.Clean("/"+h.Name), "/"), Type: types[h.Typeflag], Mode: uint16(h.Mode & 0o7777),
		UID: uint32(h.Uid), GID: uint32(h.Gid), Mtime: Time{h.ModTime.Unix(), uint32(h.ModTime.Nanosecond())},
	}
	if h.Typeflag == flagPAXSolaris {
		return e, false, errNotComparable
	}
	for _, g := range []struct {
		key string
		set func(n int64)
	}{
		{"uid", func(n int64) { e.UID = uint32(n) }},
		{"gid", func(n int64) { e.GID = uint32(n) }},
		{"mtime", func(n int64) { e.Mtime = Time{Sec: n} }},
	} {
		if _, own := h.PAXRecords[g.key]; own || global[g.key] == "" {
			continue
		}
		n, err := strconv.ParseInt(global[g.key], 10, 64)
		if err != nil {
			return e, false, errNotComparable // a fraction
		}
		g.set(n)
	}
	if e.Type == 0 || namesTooLong(e.Path) {
		return e, false, nil
	}
	for i, elem := range strings.Split(e.Path, "/") {
		switch rest, ok := strings.CutPrefix(elem, ".wh."); {
		case elem == ".wh..wh..opq":
			return Entry{Path: path.Join(strings.Split(e.Path, "/")[:i]...), Type: Opaque}, true, nil
		case ok && strings.HasPrefix(rest, ".wh."):
			return e, false, nil
		case ok:
			return Entry{Path: path.Join(append(strings.Split(e.Path, "/")[:i], rest)...), Type: Whiteout}, true, nil
		}
	}
	switch e.Type {
	case Regular:
		e.Size = h.Size
		if isLandmark(e.Path) {
			return e, false, nil
		}
	case Char, Block:
		e.Major, e.Minor = uint32(h.Devmajor), uint32(h.Devminor)
		if e.Type == Char && h.Devmajor == 0 && h.Devminor == 0 {
			return Entry{Path: e.Path, Type: Whiteout}, true, nil
		}
	case Symlink:
		e.Link, e.Mode = h.Linkname, 0o777
		if e.Link == "" || len(e.Link) > 4095 {
			return e, false, nil
		}
	case Hardlink:
		e.Link = strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
		if e.Link == e.Path || e.Link == "" || namesTooLong(e.Link) || strings.HasPrefix(e.Link, ".wh.") || strings.Contains(e.Link, "/.wh.") {
			return e, false, nil
		}
	}
	e.Xattrs = xattrsFromStdlib(e.Type, global, h.PAXRecords)
	return e, true, nil
}

func namesTooLong(p string) bool {
	return len(p) > 4095 || slices.ContainsFunc(strings.Split(p, "/"), func(e string) bool { return len(e) > 255 })
}

// xattrsFromStdlib knows the records that container engines know; the rules
// of which to keep have tests of their own.
func xattrsFromStdlib(t Type, global, local map[string]string) (xs []Xattr) {
	all := maps.Clone(global)
	maps.Copy(all, local)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		name, ok := strings.CutPrefix(k, "SCHILY.xattr.")
		if ok && keepXattr(name) && canHave(t, name) {
			xs = append(xs, Xattr{name, []byte(all[k])})
		}
	}
	return xs
}
