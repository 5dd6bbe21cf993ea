package fs

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// TestReadDirPages reads a directory in replies of many sizes, READDIR and
// READDIRPLUS by turns: each entry comes once, with its number and type.
func TestReadDirPages(t *testing.T) {
	v := newMemView()
	sub := v.add("sub", unix.S_IFDIR|0o755, nil)
	want := []string{
		fmt.Sprintf(". %d 4", sub.ID),
		fmt.Sprintf(".. %d 4", overlay.Root),
	}
	for i := range 500 {
		name := fmt.Sprintf("%0*d", 3+i%250, i)
		n := v.file("sub/"+name, "")
		want = append(want, fmt.Sprintf("%s %d 8", name, n.ID))
	}
	slices.Sort(want)
	h := newHandlers(v, slog.New(slog.DiscardHandler))
	for _, size := range []int{420, 512, 1000, 4096, 1 << 20} {
		var got []string
		var off uint64
		for turn := 0; ; turn++ {
			in := &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: uint64(sub.ID)}, Offset: off}
			out := fuse.NewDirEntryList(make([]byte, size), off)
			read, parse := h.ReadDir, fuse.ParseDirEntries
			if turn%2 == 1 {
				read, parse = h.ReadDirPlus, parsePlus
			}
			if st := read(nil, in, out); !st.Ok() {
				t.Fatal(st)
			}
			entries, err := parse(out.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				if e.Off <= off {
					t.Fatalf("%d bytes a reply: offset %d of %q is not above %d", size, e.Off, e.Name, off)
				}
				off = e.Off
				got = append(got, fmt.Sprintf("%s %d %d", e.Name, e.Ino, e.Mode>>12))
			}
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d bytes a reply (-want +got):\n%s", size, d)
		}
	}
}

// parsePlus is ParseDirEntries of a READDIRPLUS reply, whose nodes it checks.
func parsePlus(b []byte) ([]fuse.DirEntry, error) {
	entries, outs, err := fuse.ParseDirLookupEntries(b)
	for i, e := range entries {
		dot := e.Name == "." || e.Name == ".."
		if !dot && (outs[i].NodeId != e.Ino || outs[i].Attr.Ino != e.Ino || outs[i].EntryTimeout() != forever || outs[i].AttrTimeout() != forever) {
			return nil, fmt.Errorf("%q: node %+v, want that of inode %d, for ever", e.Name, outs[i], e.Ino)
		}
		if dot && outs[i].NodeId != 0 {
			return nil, fmt.Errorf("%q: node %d, want none", e.Name, outs[i].NodeId)
		}
	}
	return entries, err
}
