package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/container"
	"mica/fs"
	"mica/layerstore"
)

func newDoctor(std streams) *cobra.Command {
	d := &doctor{std: std}
	var format choice
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Check what mica needs of this machine, and say how to mend it",
		Long: `Doctor checks each thing that mica needs, last of all by a real mount. What is
needed and not there is a FAIL, and the exit status 1; what only some uses need
is a warning.`,
		Example: `  mica doctor
  mica doctor --format json | jq '.[] | select(.status != "ok")'
  sudo -u nobody mica doctor --root /tmp/nobody     # for another user`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := d.examine(cmd.Context())
			if format.word == "json" {
				if err := printJSON(std.out, findings); err != nil {
					return err
				}
			} else if err := d.print(findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Status == failing {
					return &toldError{exitFailed}
				}
			}
			return nil
		},
	}
	d.addRoot(cmd.Flags())
	addChoice(cmd.Flags(), &format, "format", "what to print", "text", "json")
	return cmd
}

// A doctor checks prerequisites. The order is that in which they are needed.
type doctor struct {
	imageFlags
	std streams
}

// A finding is what one check has found.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // one of the three below
	Text   string `json:"text"`
	Mend   string `json:"mend,omitempty"` // what to do about it
}

const (
	fine    = "ok"
	warning = "warn"
	failing = "fail"
)

func (d *doctor) examine(ctx context.Context) []finding {
	findings := []finding{d.kernel(), d.device(), d.helper(), d.allowOther(), d.store()}
	mount := finding{Check: "mount", Status: warning, Text: "not tried: see above"}
	for _, f := range findings {
		if f.Status == failing {
			return append(findings, mount, d.leftovers(), d.mountHelper(), d.namespaces(), d.attr(), d.runtime(), d.cgroups())
		}
	}
	return append(findings, d.mount(ctx), d.leftovers(), d.mountHelper(), d.namespaces(), d.attr(), d.runtime(), d.cgroups())
}

func (d *doctor) print(findings []finding) error {
	for _, f := range findings {
		status := f.Status
		if status == failing {
			status = "FAIL"
		}
		if _, err := fmt.Fprintf(d.std.out, "%-4s  %s: %s\n", status, f.Check, printable(f.Text)); err != nil {
			return err
		}
		if f.Mend != "" {
			if _, err := fmt.Fprintf(d.std.out, "      mend: %s\n", printable(f.Mend)); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed is the finding of an error, with its hint for a mend.
func failed(check string, err error) finding {
	f := finding{Check: check, Status: failing, Text: err.Error()}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		f.Mend = hinted.Hint()
	}
	return f
}

// oldestKernel is the first that answers ENOSYS to OPENDIR by opening without
// asking (FUSE_NO_OPENDIR_SUPPORT), which the server depends on.
var oldestKernel = [2]int{5, 1}

func (d *doctor) kernel() finding {
	release := kernelRelease()
	f := finding{Check: "kernel", Status: fine, Text: "Linux " + release}
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, erra := strconv.Atoi(major)
	b, errb := strconv.Atoi(strings.TrimRight(minor, "-+abcdefghijklmnopqrstuvwxyz"))
	if erra != nil || errb != nil {
		f.Status, f.Text = warning, fmt.Sprintf("release %q: no version that is known", release)
		return f
	}
	if cmp.Or(cmp.Compare(a, oldestKernel[0]), cmp.Compare(b, oldestKernel[1])) < 0 {
		f.Status, f.Mend = failing, fmt.Sprintf("Linux %d.%d or later", oldestKernel[0], oldestKernel[1])
	}
	return f
}

func (d *doctor) device() finding {
	if err := fs.CheckDevice(); err != nil {
		return failed("/dev/fuse", err)
	}
	return finding{Check: "/dev/fuse", Status: fine, Text: "opens"}
}

func (d *doctor) helper() finding {
	path, err := fs.CheckHelper()
	switch {
	case err == nil:
		return finding{Check: "fusermount3", Status: fine, Text: path + ", setuid"}
	case os.Geteuid() == 0:
		f := failed("fusermount3", err)
		return finding{Check: f.Check, Status: warning, Text: "not needed by root, but by others: " + f.Text, Mend: f.Mend}
	}
	return failed("fusermount3", err)
}

func (d *doctor) allowOther() finding {
	f := finding{Check: "allow_other", Status: fine, Text: "users may let others into their mounts"}
	if !fs.UserAllowOther() {
		f.Status, f.Text = warning, "user_allow_other is not set in /etc/fuse.conf: a user's mounts are that user's alone"
		f.Mend = "echo user_allow_other >> /etc/fuse.conf, as root"
	}
	return f
}

// enoughSpace is what the store should have free, in bytes: indexes of some
// hundred gigabytes of images.
const enoughSpace = 1 << 30

func (d *doctor) store() finding {
	store, err := d.imageFlags.store()
	if err != nil {
		return failed("store", err)
	}
	free, err := freeSpace(store)
	if err != nil {
		f := failed("store", err)
		f.Mend = first(f.Mend, "--root DIR or MICA_ROOT for a store that is yours")
		return f
	}
	f := finding{Check: "store", Status: fine, Text: fmt.Sprintf("%s, %s free", store.Root(), size(free))}
	if free < enoughSpace {
		f.Status, f.Mend = warning, "an index is about 1 % of its image; another place for it: --root DIR or MICA_ROOT"
	}
	return f
}

// freeSpace gives the bytes that are free for a store in which a file can be
// made. A directory that is not there is made, and goes again.
func freeSpace(store *layerstore.Store) (free int64, err error) {
	if _, serr := os.Stat(store.Root()); errors.Is(serr, os.ErrNotExist) {
		defer func() { err = errors.Join(err, os.Remove(store.Root())) }()
	}
	if err := os.MkdirAll(store.Root(), 0o755); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(store.Root(), ".doctor-*")
	if err != nil {
		return 0, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		err = &os.PathError{Op: "statfs", Path: store.Root(), Err: err}
		return 0, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return int64(st.Bavail) * st.Bsize, errors.Join(f.Close(), os.Remove(f.Name()))
}

// mount makes the demonstration image, mounts it and reads a file in it.
func (d *doctor) mount(ctx context.Context) (f finding) {
	stage, err := newStage(ctx)
	if err != nil {
		return failed("mount", err)
	}
	defer func() {
		if err := stage.close(); err != nil {
			f = failed("mount", err)
		}
	}()
	if _, err := writeDemoImage(stage.path("image"), strings.NewReader("not a program")); err != nil {
		return failed("mount", err)
	}
	var said strings.Builder
	cmd := stage.command("mica mount --quiet image mnt && cat mnt/etc/motd")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		text, mend, _ := strings.Cut(strings.TrimSpace(said.String()), "\nhint: ")
		return finding{Check: "mount", Status: failing, Text: text, Mend: mend}
	}
	return finding{Check: "mount", Status: fine, Text: "an image was mounted and a file in it read"}
}

func (d *doctor) leftovers() finding {
	mounts, err := d.mounts()
	if err != nil {
		return failed("mounts", err)
	}
	var dead []string
	for _, m := range mounts {
		if m.Dead {
			dead = append(dead, m.Dir)
		}
	}
	if len(dead) > 0 {
		return finding{Check: "mounts", Status: warning, Text: "without a server: " + strings.Join(dead, " "), Mend: "mica umount " + strings.Join(dead, " ")}
	}
	return finding{Check: "mounts", Status: fine, Text: fmt.Sprintf("%d, all served", len(mounts))}
}

// mountHelper looks for what mount(8) and fstab start; FUSE's own helper will
// do as well.
func (d *doctor) mountHelper() finding {
	for _, path := range []string{"/sbin/mount.fuse.mica", "/sbin/mount.fuse", "/sbin/mount.fuse3"} {
		if _, err := os.Stat(path); err == nil {
			return finding{Check: "mount -t fuse.mica", Status: fine, Text: "by " + path}
		}
	}
	self, err := os.Executable()
	if err != nil {
		self = "mica"
	}
	return finding{Check: "mount -t fuse.mica", Status: warning, Text: "mount(8) and fstab do not know mica", Mend: fmt.Sprintf("ln -s %s /sbin/mount.fuse.mica, as root", self)}
}

// namespaces checks what rootless containers stand on.
func (d *doctor) namespaces() finding {
	f := finding{Check: "user namespaces", Status: fine, Text: "available"}
	cmd := exec.Command("/proc/self/exe", "version")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Run(); err != nil {
		f.Status, f.Text = warning, fmt.Sprintf("not to be had (%v): mounting works without", errors.Unwrap(err))
		f.Mend = "sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1, as root"
	}
	return f
}

func (d *doctor) attr() finding {
	path, err := exec.LookPath("getfattr")
	if err != nil {
		return finding{Check: "getfattr", Status: warning, Text: "not in PATH: it would tell which layer a file is from", Mend: "apt install attr, or mica stat IMAGE PATH"}
	}
	return finding{Check: "getfattr", Status: fine, Text: filepath.Clean(path)}
}

// runtime looks for what runs containers.
func (d *doctor) runtime() finding {
	path, err := container.FindRuntime()
	if err != nil {
		f := failed("runtime", err)
		f.Status = warning
		return f
	}
	return finding{Check: "runtime", Status: fine, Text: path}
}

// cgroups looks by what containers can be limited.
func (d *doctor) cgroups() finding {
	g, err := container.FindCgroups()
	if err != nil {
		f := failed("cgroup", err)
		f.Status = warning
		return f
	}
	f := finding{Check: "cgroup", Status: fine, Text: "version " + strings.TrimPrefix(g.Kind(), "v")}
	for _, need := range []string{"memory", "cpu", "pids"} {
		if g.Controllers[need] == "" {
			f.Status, f.Mend = warning, "without it containers cannot be limited in that"
			f.Text += ", no controller " + need
		}
	}
	return f
}
