package toc

import (
	"archive/tar"
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// describe is what a table would tell of a member.
func describe(h *tar.Header) *Description {
	types := map[byte]Type{
		tar.TypeReg: Regular, tar.TypeCont: Regular, tar.TypeDir: Dir, tar.TypeFifo: Fifo, tar.TypeLink: Hardlink,
		tar.TypeSymlink: Symlink, tar.TypeChar: Char, tar.TypeBlock: Block,
	}
	d := &Description{
		Name: h.Name, Link: h.Linkname, Type: types[h.Typeflag], Mode: h.Mode | 0o100000, UID: int64(h.Uid), GID: int64(h.Gid),
		Mtime: Time{h.ModTime.Unix(), uint32(h.ModTime.Nanosecond())}, Size: h.Size, Major: h.Devmajor, Minor: h.Devminor,
		Xattrs: map[string][]byte{},
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			d.Xattrs[name] = []byte(v)
		}
	}
	return d
}

// describeAll gives the entries that a table of the layer stands for, and by
// where the data of a member begins, where its headers do. It gives false for a
// layer that no table can tell all of: sparse files, global headers.
func describeAll(layer []byte) (all []Entry, headers map[int64]int64, ok bool) {
	src := bytes.NewReader(layer)
	r := tar.NewReader(src)
	headers = map[int64]int64{}
	at := int64(0)
	var dr Describer
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all, headers, true
		}
		if err != nil || h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.name"] != "" {
			return nil, nil, false
		}
		data := int64(len(layer) - src.Len())
		headers[data] = at
		at = data + (h.Size+blockSize-1)/blockSize*blockSize
		d := describe(h)
		if d.Type == 0 {
			continue
		}
		e, err := dr.Entry(d)
		if err != nil {
			return nil, nil, false
		}
		if e != nil {
			all = append(all, *e)
		}
	}
}

// A described entry is what Scan makes of the header, and a header that was
// described is the one that is found in the tar.
func TestDescribedIsScanned(t *testing.T) {
	compared, checked := 0, 0
	for seed := range uint64(1500) {
		layer := randomTar(rand.New(rand.NewPCG(seed, 1)))
		scanned, _, err := scanAll(layer)
		described, headers, ok := describeAll(layer)
		if !ok || err != nil || slices.ContainsFunc(scanned, func(e Entry) bool { return e.Sparse != nil }) {
			continue
		}
		compared++
		want := slices.Clone(scanned)
		for i := range want {
			want[i].Off = 0
		}
		if diff := cmp.Diff(want, described); diff != "" {
			t.Fatalf("seed %d: -scanned +described\n%s", seed, diff)
		}
		for i, e := range scanned {
			if e.Size == 0 {
				continue
			}
			checked++
			region := layer[headers[e.Off]:e.Off]
			if err := CheckHeader(bytes.NewReader(region), headerSum(&described[i])); err != nil {
				t.Fatalf("seed %d: CheckHeader: %v", seed, err)
			}
			other := described[i]
			other.UID++
			if err := CheckHeader(bytes.NewReader(region), headerSum(&other)); err == nil {
				t.Fatalf("seed %d: CheckHeader takes another uid", seed)
			}
		}
	}
	if compared < 200 || checked < 50 {
		t.Errorf("%d tars and %d headers compared, want 200 and 50 at least", compared, checked)
	}
}
