package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mica/fs"
	"mica/overlay"
)

func id(n uint32) *uint32 { return &n }

func TestParseMountOptions(t *testing.T) {
	for _, tt := range []struct {
		about string
		lists []string
		want  mountOptions
		err   string
	}{
		{about: "none"},
		{about: "empty words", lists: []string{"", ",ro,"}},
		{about: "what fstab says to others", lists: []string{"ro,_netdev,nofail,noauto,user,x-systemd.automount,X-mount.mkdir=0755,comment=a b,defaults"}},
		{about: "flags of mount(8)", lists: []string{"nosuid,nodev,noexec,noatime"},
			want: mountOptions{fs: fs.Options{NoSuid: true, NoDev: true, NoExec: true, NoAtime: true}}},
		{about: "later ones win", lists: []string{"nosuid,nodev,noexec", "suid,dev"}, want: mountOptions{fs: fs.Options{NoExec: true}}},
		{about: "of FUSE", lists: []string{"allow_other,default_permissions", "nonempty,fsname=x"},
			want: mountOptions{fs: fs.Options{AllowOther: true, DefaultPermissions: true, Nonempty: true, Source: "x"}}},
		{about: "owners", lists: []string{"uid=0,gid=4294967295"}, want: mountOptions{uid: id(0), gid: id(1<<32 - 1)}},
		{about: "flags of mica's", lists: []string{"root=/srv/mica,platform=linux/arm64"}, want: mountOptions{root: "/srv/mica", platform: "linux/arm64"}},
		{about: "unknown", lists: []string{"ro,lowerdirs=/a"}, err: `-o lowerdirs=/a: unknown mount option "lowerdirs"`},
		{about: "of overlayfs", lists: []string{`lowerdir=/a\:b:/c\,d,upperdir=/u\,v,workdir=w,index=on,redirect_dir=on,xino=auto,volatile,userxattr`},
			want: mountOptions{lowers: `/a\:b:/c\,d`, upper: "/u,v", work: "w", userMark: true}},
		{about: "a flag with a value", lists: []string{"nosuid=1"}, err: `-o nosuid=1: unknown mount option "nosuid"`},
		{about: "writable", lists: []string{"rw"}, want: mountOptions{rw: true}},
		{about: "read-only after all", lists: []string{"rw", "ro"}},
		{about: "an upper", lists: []string{"rw,upperdir=u,workdir=w"}, want: mountOptions{rw: true, upper: "u", work: "w"}},
		{about: "no value", lists: []string{"platform="}, err: `-o platform=: needs a value`},
		{about: "no number", lists: []string{"uid=-1"}, err: `-o uid=-1: not a number: "-1"`},
		{about: "too large", lists: []string{"gid=4294967296"}, err: `-o gid=4294967296: not a number: "4294967296"`},
	} {
		got, err := parseMountOptions(tt.lists)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: parseMountOptions(%q): %v, want %s", tt.about, tt.lists, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: parseMountOptions(%q): %v", tt.about, tt.lists, err)
			continue
		}
		if diff := cmp.Diff(&tt.want, got, cmp.AllowUnexported(mountOptions{})); diff != "" {
			t.Errorf("%s: parseMountOptions(%q), -want +got\n%s", tt.about, tt.lists, diff)
		}
	}
}

func TestParseLowers(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []string
	}{
		{"/a", []string{"/a"}},
		{"a:/b:c", []string{"a", "/b", "c"}},
		{`oci\:/x\:t:/a\,b:c\\d`, []string{"oci:/x:t", "/a,b", `c\d`}},
		{`a\`, []string{`a\`}},
		{"a::b", nil},
		{":a", nil},
		{"a:", nil},
	} {
		got, err := parseLowers(tt.list)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("parseLowers(%s) = %q, %v; want %q", tt.list, got, err, tt.want)
		}
	}
}

// ownersView is a view of one file and its directory.
type ownersView struct{ fs.View }

func (ownersView) Lookup(overlay.NodeID, string) (overlay.Attr, error) {
	return overlay.Attr{ID: 2, UID: 7, GID: 8}, nil
}
func (ownersView) Attr(id overlay.NodeID) (overlay.Attr, error) {
	return overlay.Attr{ID: id, UID: 7, GID: 8}, nil
}
func (v ownersView) ReadDir(_ overlay.NodeID, _ uint64, emit func(string, overlay.Attr, uint64) bool) error {
	emit("file", overlay.Attr{ID: 2, UID: 7, GID: 8}, 1)
	return nil
}

func TestOwnedView(t *testing.T) {
	for _, tt := range []struct {
		uid, gid *uint32
		want     [2]uint32
	}{
		{nil, nil, [2]uint32{7, 8}},
		{id(0), nil, [2]uint32{0, 8}},
		{id(1), id(2), [2]uint32{1, 2}},
	} {
		v := &ownedView{View: ownersView{}, uid: tt.uid, gid: tt.gid}
		looked, _ := v.Lookup(1, "file")
		attr, _ := v.Attr(2)
		var read overlay.Attr
		v.ReadDir(1, 0, func(_ string, a overlay.Attr, _ uint64) bool { read = a; return true })
		for how, a := range map[string]overlay.Attr{"Lookup": looked, "Attr": attr, "ReadDir": read} {
			if got := [2]uint32{a.UID, a.GID}; got != tt.want || a.ID != 2 {
				t.Errorf("%s: node %d owned by %v, want 2 by %v", how, a.ID, got, tt.want)
			}
		}
	}
}
