package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A result is what a command left.
type result struct {
	stdout, stderr string
	status         int
}

// mica runs a command line with a store of the test's own.
func mica(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	status := run(context.Background(), args, streams{strings.NewReader(""), &out, &errs})
	return result{out.String(), errs.String(), status}
}

// filesImage makes an image of what the commands that look inside have to
// tell apart, in a store of its own, and gives how it is typed.
func filesImage(t *testing.T) string {
	t.Helper()
	t.Setenv("MICA_ROOT", filepath.Join(t.TempDir(), "store"))
	now := time.Now().Add(-time.Hour).Truncate(time.Second)
	old := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	members := []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: old},
		{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin", ModTime: old},
		{Name: "broken", Typeflag: tar.TypeSymlink, Linkname: "no/where", ModTime: old},
		{Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: old},
		{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: old},
		{Name: "dev/sda", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 8, Devminor: 16, Gid: 6, ModTime: old},
		{Name: "dev/pipe", Typeflag: tar.TypeFifo, Mode: 0o600, ModTime: now},
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: old},
		{Name: "etc/.hidden/", Typeflag: tar.TypeDir, Mode: 0o700, ModTime: old},
		{Name: "etc/.hidden/x", Typeflag: tar.TypeReg, Mode: 0o600, ModTime: old},
		{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: old},
		{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: now},
		{Name: "etc/motd", Typeflag: tar.TypeLink, Linkname: "etc/passwd"},
		{Name: "new\nline\x1b[31m", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: old},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777, ModTime: now},
		{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: old},
		{Name: "usr/bin/", Typeflag: tar.TypeDir, Mode: 0o2755, Gid: 1234567, ModTime: old},
		{Name: "usr/bin/big", Typeflag: tar.TypeReg, Mode: 0o755, Uid: 42, Size: 123456, ModTime: old},
		{Name: "usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 5, ModTime: now,
			PAXRecords: map[string]string{"SCHILY.xattr.user.note": "hello", "SCHILY.xattr.user.raw": "\x01\x02"}},
		{Name: "zwölf", Typeflag: tar.TypeReg, Uid: 5, Mode: 0, ModTime: time.Unix(1<<33, 0)},
		{Name: "bad\xff", Typeflag: tar.TypeReg, Mode: 0o6666, ModTime: now.Add(24 * time.Hour)},
	}
	contents := map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\nsu:x:42:7::/:\nbad name:x:5:5::/:\n+::::::\nother:x:42:7::/:\n",
		"etc/group":  "root:x:0:\ndisk:x:6:su\n",
		"usr/bin/su": "su me",
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(contents[h.Name]))
		}
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		text := contents[h.Name]
		if text == "" {
			text = strings.Repeat("0123456789abcde\n", int(h.Size)/16)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "files.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return "rootfs:" + file
}

// onDisk gives a directory that the files of an image have been copied to.
func onDisk(t *testing.T, image string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MICA_TEST_STRICT") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, to make devices and give files away")
	}
	dir := filepath.Join(t.TempDir(), "copy")
	if r := mica(t, "cp", "-qa", image+":/", dir); r.status != 0 {
		t.Fatalf("cp: %s", r.stderr)
	}
	return dir
}

// tool runs a program in a directory and gives its standard output.
func tool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out)
}

// onTerminal runs a command whose standard output is a terminal of 80 columns.
func onTerminal(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer control.Close()
	fd := int(control.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: 80, Row: 24}); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(control) // EIO when the other end is closed
		read <- string(b)
	}()
	var errs bytes.Buffer
	status = run(context.Background(), args, streams{strings.NewReader(""), terminal, &errs})
	if err := terminal.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(<-read, "\r\n", "\n"), errs.String(), status
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}
