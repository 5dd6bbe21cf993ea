package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// prelude is what the scripts of all sides begin with.
const prelude = `set -euo pipefail
# cold has the kernel forget names, attributes and pages.
cold() { sync; echo 3 >/proc/sys/vm/drop_caches; }
# warm has the kernel read files, as those are in memory that were just pulled.
warm() { cat "$@" >/dev/null; }
# fresh makes $F an empty file system: creating files is slow for minutes where ext4
# has just deleted others.
fresh() {
	if mountpoint -q $F; then umount -R $F; fi
	rm -f $DIR/fs; truncate -s 8G $DIR/fs; mkfs.ext4 -q -E lazy_itable_init=1 $DIR/fs
	mkdir -p $F; mount -o loop,noinit_itable $DIR/fs $F
}
podman() { command podman --root $PODMAN --runroot $PODMAN-run --storage-driver overlay "$@"; }
# remount mounts anew, with an index if there is one; its server has read nothing.
remount() { if mountpoint -q $M; then mica umount $M; fi; mica mount -q $1 $M >/dev/null; }
# overlay has $DIR/o-$IMAGE be the image on the kernel's overlayfs, unpacked by layer.
overlay() {
	[ ! -e $DIR/o-$IMAGE ] || return 0
	ln -s $(podman image mount $(podman pull -q oci:$IMAGES/oci:$IMAGE)) $DIR/o-$IMAGE
}
# unpacked has $DIR/u-$IMAGE be the image in one directory.
unpacked() { [ -e $DIR/u-$IMAGE ] || umoci raw unpack --image $IMAGES/oci:$IMAGE $DIR/u-$IMAGE; }
`

// A lab is where the rows are measured.
type lab struct {
	dir    string        // scratch, removed at the end
	images string        // as images.sh makes them
	runs   int           // rounds of a comparison, at least
	most   time.Duration // after which a comparison begins no other round, if it is not 0
	log    io.Writer
	ctx    context.Context // of the run; it ends if that is interrupted
}

// newLab makes a lab in a new directory below tmp, with a program in its PATH.
func newLab(tmp, program, images string, log io.Writer) (*lab, error) {
	dir, err := os.MkdirTemp(tmp, "mica-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, images: images, log: log}
	for _, sub := range []string{"bin", "m", "run", "f"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	return l, os.Symlink(program, filepath.Join(dir, "bin", "mica"))
}

// close unmounts what is mounted below the lab's directory, and removes it.
func (l *lab) close() error {
	mounts, err := l.mounts()
	for _, m := range slices.Backward(mounts) {
		err = errors.Join(err, unix.Unmount(m, unix.MNT_DETACH))
	}
	if err != nil {
		return err // what is still mounted is not to be removed
	}
	return os.RemoveAll(l.dir)
}

// mounts gives the mountpoints below the lab's directory, in the order of mounting.
func (l *lab) mounts() (dirs []string, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], l.dir+"/") {
			dirs = append(dirs, f[4])
		}
	}
	return dirs, err
}

// env is the environment of all programs that the lab starts; dir is what
// scripts know as $DIR.
func (l *lab) env(image string) []string {
	vars := []string{
		"DIR=" + l.dir,
		"F=" + filepath.Join(l.dir, "f"),
		"M=" + filepath.Join(l.dir, "m"),
		"PODMAN=" + filepath.Join(l.dir, "podman"),
		"IMAGES=" + l.images,
		"IMAGE=" + image,
		"REF=" + l.ref(image),
		"LAYERS=" + strings.Join(l.layers("oci", image), " "),
		"ZSTD_LAYERS=" + strings.Join(l.layers("oci-zstd", image), " "),
		"HOME=" + l.dir,
		"MICA_ROOT=" + filepath.Join(l.dir, "store"),
		"XDG_RUNTIME_DIR=" + filepath.Join(l.dir, "run"),
		"PATH=" + filepath.Join(l.dir, "bin") + ":" + os.Getenv("PATH"),
		"LC_ALL=C",
	}
	return append(os.Environ(), vars...)
}

// mount is where the scripts mount.
func (l *lab) mount() string { return filepath.Join(l.dir, "m") }

// bash runs lines of bash and gives what they print on descriptor 3.
func (l *lab) bash(image, lines string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	var stderr strings.Builder
	cmd := exec.Command("bash", "-c", prelude+lines)
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.ExtraFiles = l.env(image), l.dir, &stderr, []*os.File{w}
	err = cmd.Run()
	w.Close()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", lines, err, stderr.String())
	}
	out, err := io.ReadAll(r)
	return string(out), err
}

// run does the work of a side once and gives how many seconds it took.
func (l *lab) run(s side, image string) (took float64, err error) {
	if s.measure != nil {
		if _, err := l.bash(image, s.before+"\n"); err != nil {
			return 0, err
		}
		took, err = s.measure(l, image)
		_, after := l.bash(image, s.after+"\n")
		return took, errors.Join(err, after)
	}
	// Bash's own clock, so that neither its start nor that of date is counted. What
	// is in the background of a command, a server, is not to keep descriptor 3.
	out, err := l.bash(image, s.before+"\nstart=$EPOCHREALTIME\n{ "+s.run+"\n} >/dev/null 3>&-\nend=$EPOCHREALTIME\n"+
		s.after+"\necho $start $end >&3\n")
	if err != nil {
		return 0, err
	}
	var start, end float64
	fields := strings.Fields(out)
	if len(fields) == 2 {
		start, err = strconv.ParseFloat(fields[0], 64)
		if err == nil {
			end, err = strconv.ParseFloat(fields[1], 64)
		}
	}
	if err != nil || end == 0 {
		return 0, fmt.Errorf("two times wanted, got %q", out)
	}
	return end - start, nil
}
