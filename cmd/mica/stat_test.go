package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStat(t *testing.T) {
	image := filesImage(t)
	old := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC).Local().Format("2006-01-02 15:04:05.000000000 -0700")
	got := mica(t, "stat", image, "/usr/bin/big", "/dev/sda", "/bin", "/etc/.hidden/x")
	want := `  File: /usr/bin/big
  Size: 123456    	Blocks: 242        IO Block: 4096   regular file
 Inode: N         	Links: 1
Access: (0755/-rwxr-xr-x)  Uid: (   42/      su)   Gid: (    0/    root)
Modify: OLD
 Layer: 1/1 sha256:DIGEST
  File: /dev/sda
  Size: 0         	Blocks: 0          IO Block: 4096   block special file
 Inode: N         	Links: 1     Device type: 8,16
Access: (0660/brw-rw----)  Uid: (    0/    root)   Gid: (    6/    disk)
Modify: OLD
 Layer: 1/1 sha256:DIGEST
  File: /bin -> usr/bin
  Size: 7         	Blocks: 0          IO Block: 4096   symbolic link
 Inode: N         	Links: 1
Access: (0777/lrwxrwxrwx)  Uid: (    0/    root)   Gid: (    0/    root)
Modify: OLD
 Layer: 1/1 sha256:DIGEST
  File: /etc/.hidden/x
  Size: 0         	Blocks: 0          IO Block: 4096   regular empty file
 Inode: N         	Links: 1
Access: (0600/-rw-------)  Uid: (    0/    root)   Gid: (    0/    root)
Modify: OLD
 Layer: 1/1 sha256:DIGEST
`
	text := strings.ReplaceAll(got.stdout, old, "OLD")
	text = regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(text, "sha256:DIGEST")
	text = regexp.MustCompile(`(Inode: )\d+ *`).ReplaceAllString(text, "${1}N         ")
	if d := cmp.Diff(want, text); d != "" || got.status != 0 {
		t.Errorf("status %d, %s (-want +got):\n%s", got.status, got.stderr, d)
	}
	got = mica(t, "stat", "-L", image, "/bin/su", "/broken")
	for _, line := range []string{"  File: /bin/su\n", "Access: (4755/-rwsr-xr-x)", ` Xattr: user.note="hello"` + "\n", " Xattr: user.raw=0x0102\n"} {
		if !strings.Contains(got.stdout, line) {
			t.Errorf("stat -L: no %q in\n%s", line, got.stdout)
		}
	}
	if want := "mica: stat " + image + ": /broken: no such file or directory\n"; got.stderr != want || got.status != 3 {
		t.Errorf("stat -L of a broken link: status %d, %s", got.status, got.stderr)
	}
}

func TestStatJSON(t *testing.T) {
	image := filesImage(t)
	var got []struct {
		fileJSON
		Blocks, Layers int
		Digest         string
		Xattrs         map[string][]byte
	}
	out := mica(t, "stat", "--format=json", image, "/usr/bin/su", "/", "/bin").stdout
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 3 {
		t.Fatalf("%d objects, %v in\n%s", len(got), err, out)
	}
	su := got[0]
	if su.Path != "/usr/bin/su" || su.Mode != "4755" || su.Blocks != 1 || su.Layer != 1 || su.Layers != 1 || !strings.HasPrefix(su.Digest, "sha256:") || su.Nlink != 1 || su.Size != 5 || su.Target != nil {
		t.Errorf("/usr/bin/su: %+v", su)
	}
	if d := cmp.Diff(map[string][]byte{"user.note": []byte("hello"), "user.raw": {1, 2}}, su.Xattrs); d != "" {
		t.Errorf("xattrs (-want +got):\n%s", d)
	}
	if got[1].Type != "directory" || got[1].Inode != 1 || got[2].Target == nil || *got[2].Target != "usr/bin" {
		t.Errorf("/ and /bin: %+v", got[1:])
	}
}
