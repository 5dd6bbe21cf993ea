package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// checkMountError checks a MountError by what a user and a program see of it.
func checkMountError(t *testing.T, err error, code, text, hint string) {
	t.Helper()
	var e *MountError
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T), want a *MountError", err, err)
	}
	if e.Code() != code || !regexp.MustCompile("^"+text+"$").MatchString(e.Error()) || e.Hint() != hint {
		t.Errorf("code %q, error %q, hint %q\nwant %q, %q, %q", e.Code(), e.Error(), e.Hint(), code, text, hint)
	}
}

func TestMountpointErrors(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	mkdir := func(names ...string) {
		for _, name := range names {
			if err := os.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	touch := func(name string) {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mkdir("empty", "one", "three", "three/a", "many")
	touch("file")
	touch("one/x")
	touch("three/b")
	touch("three/c")
	for i := range countedEntries + 1 {
		touch(fmt.Sprint("many/", i))
	}
	if err := os.Symlink("three", "link"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		about, dir       string
		code, text, hint string
	}{
		{"missing", "m", "no-mountpoint", `m: no such directory`, "mkdir m, or add --mkdir"},
		{"missing parent", "x/m", "no-mountpoint", `x/m: no such directory`, "mkdir x/m, or add --mkdir"},
		{"file", "file", "not-directory", `file: not a directory`, ""},
		{"below a file", "file/m", "not-directory", `file/m: not a directory`, ""},
		{"one entry", "one", "not-empty", `one is not empty \(1 entry\); mounting would hide them`, "choose another directory, or -o nonempty"},
		{"through a symlink", "link", "not-empty", `link is not empty \(3 entries\); mounting would hide them`, "choose another directory, or -o nonempty"},
		{"many", "many", "not-empty", `many is not empty \(more than 1000 entries\); mounting would hide them`, "choose another directory, or -o nonempty"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			_, err := CheckMountpoint(tt.dir, Options{})
			checkMountError(t, err, tt.code, tt.text, tt.hint)
		})
	}
	want, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := CheckMountpoint("empty", Options{}); got != want+"/empty" || err != nil {
		t.Errorf("CheckMountpoint of an empty directory = %q, %v", got, err)
	}
	if got, err := CheckMountpoint("link", Options{Nonempty: true}); got != want+"/three" || err != nil {
		t.Errorf("CheckMountpoint with nonempty = %q, %v", got, err)
	}
}

func TestAlreadyMounted(t *testing.T) {
	runtime := t.TempDir()
	s := startServer(t, serverSpec{AllowOther: true, Source: "debian:12", RuntimeDir: runtime})
	_, err := CheckMountpoint(s.dir, Options{RuntimeDir: runtime})
	text := fmt.Sprintf(`%s already holds debian:12 \(pid %d, since [0-2][0-9]:[0-5][0-9]\)`, regexp.QuoteMeta(s.dir), s.cmd.Process.Pid)
	checkMountError(t, err, "mounted", text, "mica umount "+s.dir)
	var e *MountError
	if errors.As(err, &e) && (e.Mounted == nil || e.Mounted.Source != "debian:12") {
		t.Errorf("Mounted = %+v", e.Mounted)
	}
	_, err = CheckMountpoint(s.dir, Options{})
	checkMountError(t, err, "mounted", regexp.QuoteMeta(s.dir)+" already holds debian:12", "mica umount "+s.dir)
}

func TestAllowOtherInConf(t *testing.T) {
	for _, tt := range []struct {
		conf string
		want bool
	}{
		{"user_allow_other\n", true},
		{"# user_allow_other\nmount_max = 3\n", false},
		{"mount_max = 3\n  user_allow_other", true},
		{"", false},
	} {
		path := filepath.Join(t.TempDir(), "fuse.conf")
		if err := os.WriteFile(path, []byte(tt.conf), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := allowOtherInConf(path); got != tt.want {
			t.Errorf("allowOtherInConf(%q) = %v", tt.conf, got)
		}
	}
	if allowOtherInConf("/nonexistent") {
		t.Error("a fuse.conf that is not there allows")
	}
}

func TestHelperOptions(t *testing.T) {
	o := Options{Source: `oci:/srv/a,b\c:1`, NoExec: true}
	got := helperOptions(&o)
	if want := `ro,subtype=mica,max_read=1048576,fsname=oci:/srv/a\,b\\c:1,nosuid,nodev,noexec`; got != want {
		t.Errorf("helperOptions = %s, want %s", got, want)
	}
}

func TestNoDevice(t *testing.T) {
	_, err := openDevice("/nonexistent/fuse")
	checkMountError(t, err, "no-fuse", "/nonexistent/fuse: no such device",
		"modprobe fuse; in a container add --device /dev/fuse --cap-add SYS_ADMIN; or without FUSE: mica export, mica cat")
	path := filepath.Join(t.TempDir(), "fuse")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	need(t, os.Geteuid() == 0, "root")
	if got, want := modeAndOwner(path), " (mode 0600 root:root)"; got != want {
		t.Errorf("modeAndOwner = %q, want %q", got, want)
	}
}
