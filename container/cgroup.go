package container

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Cgroups are the control groups of this machine.
type Cgroups struct {
	Unified     bool              // version 2 alone, at /sys/fs/cgroup
	Controllers map[string]string // where the hierarchy of each is mounted
}

const cgroupRoot = "/sys/fs/cgroup"

// FindCgroups looks how control groups are mounted: version 2 alone, version 1,
// or both, where the runtime takes version 1.
func FindCgroups() (*Cgroups, error) {
	g := &Cgroups{Controllers: map[string]string{}}
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		g.Unified = true
		b, err := os.ReadFile(cgroupRoot + "/cgroup.controllers")
		if err != nil {
			return nil, err
		}
		for _, name := range strings.Fields(string(b)) {
			g.Controllers[name] = cgroupRoot
		}
		// Of every version 2, without a controller's name.
		g.Controllers["freezer"], g.Controllers["devices"] = cgroupRoot, cgroupRoot
		return g, nil
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		for _, name := range strings.Split(m.VFSOptions, ",") {
			switch name {
			case "rw", "ro":
			default:
				g.Controllers[name] = m.Mountpoint
			}
		}
	}
	if len(g.Controllers) == 0 {
		return nil, &RuntimeError{Status: 125, Text: "no control groups: neither version 1 nor 2 is mounted at " + cgroupRoot,
			hint: "mount -t cgroup2 cgroup2 " + cgroupRoot}
	}
	return g, nil
}

// Kind is a word for people.
func (g *Cgroups) Kind() string {
	if g.Unified {
		return "v2"
	}
	return "v1"
}

// need refuses a limit that there is no controller for.
func (g *Cgroups) need(flag, controller string) error {
	if g.Controllers[controller] != "" {
		return nil
	}
	return &RuntimeError{Status: 125, Text: fmt.Sprintf("%s: cgroup %s has no controller %s here", flag, g.Kind(), controller),
		hint: "leave " + flag + " out, or mount that controller"}
}

// canLimitSwap reports whether the kernel counts swap.
func (g *Cgroups) canLimitSwap() bool {
	if g.Unified {
		return true
	}
	_, err := os.Stat(filepath.Join(g.Controllers["memory"], "memory.memsw.limit_in_bytes"))
	return err == nil
}

// cgroupPath is the group of a container, in each hierarchy. Unless asked
// otherwise it has no parent of ours, which would be left behind.
func cgroupPath(parent, id string) string {
	if parent == "" {
		return "/mica-" + id
	}
	return filepath.Join("/", parent, id)
}

// file gives a file of a container's group: that of version 1 in the
// hierarchy of a controller, or that of version 2.
func (g *Cgroups) file(cfg *Config, controller, v1, v2 string) string {
	name := v1
	if g.Unified {
		name = v2
	}
	return filepath.Join(g.Controllers[controller], cgroupPath(cfg.Host.CgroupParent, cfg.ID), name)
}

// outOfMemory reports whether the kernel has killed a process of a container for
// want of memory.
func outOfMemory(parent, id string) bool {
	g, err := FindCgroups()
	if err != nil {
		return false
	}
	cfg := &Config{ID: id, Host: HostConfig{CgroupParent: parent}}
	return counter(g.file(cfg, "memory", "memory.oom_control", "memory.events"), "oom_kill") > 0
}

// counter reads a number out of lines of "name number"; with "" that of a file
// which is one number. What is not there is 0.
func counter(path, name string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if name == "" && len(fields) == 1 {
			n, _ := strconv.ParseInt(fields[0], 10, 64) // "max" is none
			return n
		}
		if len(fields) == 2 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

// frozen reports whether a container is paused.
func (g *Cgroups) frozen(cfg *Config) bool {
	b, err := os.ReadFile(g.file(cfg, "freezer", "freezer.state", "cgroup.freeze"))
	return err == nil && (bytes.HasPrefix(b, []byte("FR")) || bytes.HasPrefix(b, []byte("1")))
}

// unifiedRoot is where version 2 lies beside version 1; the runtime makes a group
// there as well.
const unifiedRoot = cgroupRoot + "/unified"

// removeCgroups removes the groups of a container that does not run, which a
// killed runtime leaves, and ends what is in them.
func removeCgroups(cfg *Config) error {
	g, err := FindCgroups()
	if err != nil {
		return nil // there can be none
	}
	roots := map[string]bool{unifiedRoot: true}
	for _, root := range g.Controllers {
		roots[root] = true
	}
	var failed error
	for root := range roots {
		dir := filepath.Join(root, cgroupPath(cfg.Host.CgroupParent, cfg.ID))
		for end := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
			err := os.Remove(dir)
			if err == nil || os.IsNotExist(err) {
				break
			}
			if time.Now().After(end) {
				failed = errors.Join(failed, err)
				break
			}
			pids, _ := processesBelow(dir) // gone meanwhile
			for _, pid := range pids {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	return failed
}
