package container

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// InitName is the name that mica has as the first process of a container, with
// --init, and initPath where it is then.
const (
	InitName = "mica-init"
	initPath = "/sbin/" + InitName
)

// mounts are docker's own, and those that were asked for. The runtime resolves
// each target inside the root, symlinks too.
func (c *Container) mounts(s *specs.Spec, groups *Cgroups) error {
	host := &c.Config.Host
	asked := map[string]bool{}
	for _, m := range c.Config.Mounts {
		asked[m.Destination] = true
	}
	all := defaultMounts()
	shm := specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", host.ShmSize)}}
	if host.ShmSize == 0 {
		shm.Options[4] = fmt.Sprintf("size=%d", defaultShm)
	}
	all = append(all, shm)
	if host.IpcMode == "host" {
		all = slices.DeleteFunc(all, func(m specs.Mount) bool { return m.Destination == "/dev/shm" || m.Destination == "/dev/mqueue" })
		for _, dir := range []string{"/dev/shm", "/dev/mqueue"} {
			if _, err := os.Stat(dir); err == nil {
				all = append(all, bind(dir, dir, "rw"))
			}
		}
	}
	if host.Privileged {
		for i, m := range all {
			if m.Destination == "/sys" || m.Destination == "/sys/fs/cgroup" {
				all[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "ro" })
			}
		}
	}
	if len(groups.Controllers) == 0 {
		all = slices.DeleteFunc(all, func(m specs.Mount) bool { return m.Type == "cgroup" })
	}
	all = slices.DeleteFunc(all, func(m specs.Mount) bool { return asked[m.Destination] })
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		if !asked["/etc/"+name] {
			all = append(all, bind(c.path("etc", name), "/etc/"+name, "rw"))
		}
	}
	if host.Init {
		self, err := os.Readlink("/proc/self/exe")
		if err != nil {
			return err
		}
		all = append(all, bind(self, initPath, "ro"))
	}
	for _, m := range c.Config.Mounts {
		one, err := c.mount(m)
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	// What lies in another is mounted after it.
	depth := func(p string) int { return strings.Count(path.Clean(p), "/") }
	fixed := len(all) - len(c.Config.Mounts)
	slices.SortStableFunc(all[fixed:], func(a, b specs.Mount) int { return depth(a.Destination) - depth(b.Destination) })
	s.Mounts = all
	return nil
}

// Mountpoints are the paths that something is mounted at in a container.
func (c *Container) Mountpoints() []string {
	all := []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/dev/console", initPath}
	for _, m := range defaultMounts() {
		all = append(all, m.Destination)
	}
	for _, m := range c.Config.Mounts {
		all = append(all, m.Destination)
	}
	return all
}

func bind(source, dest, access string) specs.Mount {
	return specs.Mount{Destination: dest, Type: "bind", Source: source, Options: []string{"rbind", "rprivate", access}}
}

func (c *Container) mount(m Mount) (specs.Mount, error) {
	access := "rw"
	if !m.RW {
		access = "ro"
	}
	switch m.Type {
	case "tmpfs":
		o := append([]string{"nosuid", "nodev", "noexec"}, m.Options...)
		if !m.RW {
			o = append(o, "ro")
		}
		return specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: withoutOverridden(o)}, nil
	case "volume":
		return bind(m.Source, m.Destination, access), nil
	}
	if _, err := os.Stat(m.Source); err != nil {
		return specs.Mount{}, fmt.Errorf("bind %s: %w", m.Source, err)
	}
	out := bind(m.Source, m.Destination, access)
	if m.Propagation != "" {
		out.Options[1] = m.Propagation
	}
	return out, nil
}

// withoutOverridden drops noexec, nosuid and nodev where exec, suid or dev come later.
func withoutOverridden(options []string) []string {
	return slices.DeleteFunc(options, func(o string) bool {
		return strings.HasPrefix(o, "no") && slices.Contains(options, strings.TrimPrefix(o, "no"))
	})
}

// devices are those asked for; with --privileged all of the host.
func (c *Container) devices(s *specs.Spec) error {
	list := c.Config.Host.Devices
	if c.Config.Host.Privileged {
		list = append(slices.Clone(list), hostDevices()...)
	}
	for _, d := range list {
		if err := addDevice(s, d, !c.Config.Host.Privileged); err != nil {
			return fmt.Errorf("--device %s: %w", d.PathOnHost, err)
		}
	}
	return nil
}

func addDevice(s *specs.Spec, d Device, allow bool) error {
	var st unix.Stat_t
	if err := unix.Stat(d.PathOnHost, &st); err != nil {
		return err
	}
	kind := "c"
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
	case unix.S_IFBLK:
		kind = "b"
	default:
		return fmt.Errorf("not a device")
	}
	major, minor := int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	mode, uid, gid := os.FileMode(st.Mode&0o7777), st.Uid, st.Gid
	s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: d.PathInContainer, Type: kind, Major: major, Minor: minor, FileMode: &mode, UID: &uid, GID: &gid})
	if allow {
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: d.CgroupPermissions})
	}
	return nil
}

// hostDevices are those in /dev, but for what each container has of its own.
func hostDevices() (list []Device) {
	_ = filepath.WalkDir("/dev", func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return nil // of what cannot be read nothing is shown
		}
		switch p {
		case "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/hugepages":
			if e.IsDir() { // of another the rest of its directory would be left out
				return filepath.SkipDir
			}
		case "/dev/console", "/dev/ptmx", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty":
			return nil
		}
		if e.Type()&os.ModeDevice != 0 {
			list = append(list, Device{PathOnHost: p, PathInContainer: p, CgroupPermissions: "rwm"})
		}
		return nil
	})
	return list
}

// writeEtc writes the files of /etc that are the container's own.
func (c *Container) writeEtc() error {
	host, name := &c.Config.Host, c.Config.Process.Hostname
	if host.NetworkMode == "host" && host.UTSMode == "host" {
		name, _ = os.Hostname() // else its own
	}
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	if host.NetworkMode == "host" {
		if b, err := os.ReadFile("/etc/hosts"); err == nil {
			hosts = strings.TrimRight(string(b), "\n") + "\n"
		}
	} else {
		hosts += "127.0.1.1\t" + name + "\n"
	}
	for _, h := range host.ExtraHosts {
		who, address, _ := strings.Cut(h, ":")
		hosts += address + "\t" + who + "\n"
	}
	for file, text := range map[string]string{"hosts": hosts, "hostname": name + "\n", "resolv.conf": resolvConf(host)} {
		if err := os.WriteFile(c.path("etc", file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// resolvConf is the host's, with what was asked for in its place.
func resolvConf(host *HostConfig) string {
	var out strings.Builder
	b, _ := os.ReadFile("/etc/resolv.conf") // none: nothing is known
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		switch {
		case fields[0] == "nameserver" && len(host.Dns) > 0,
			fields[0] == "search" && len(host.DnsSearch) > 0,
			fields[0] == "options" && len(host.DnsOptions) > 0:
		default:
			out.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	for _, s := range host.Dns {
		fmt.Fprintln(&out, "nameserver", s)
	}
	if len(host.DnsSearch) > 0 {
		fmt.Fprintln(&out, "search", strings.Join(host.DnsSearch, " "))
	}
	if len(host.DnsOptions) > 0 {
		fmt.Fprintln(&out, "options", strings.Join(host.DnsOptions, " "))
	}
	return out.String()
}
