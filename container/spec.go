package container

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// spec is what the runtime is told. The root file system is mounted: users are
// looked up in it.
func (c *Container) spec(rows, cols uint16) (*specs.Spec, error) {
	cfg := &c.Config
	process, err := c.process(&cfg.Process, rows, cols)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version:  "1.0.2",
		Process:  process,
		Root:     &specs.Root{Path: c.Root(), Readonly: cfg.Host.ReadonlyRootfs},
		Hostname: cfg.Process.Hostname,
		Linux: &specs.Linux{
			CgroupsPath:   cgroupPath(cfg.Host.CgroupParent, cfg.ID),
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
			Sysctl:        cfg.Host.Sysctls,
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: cfg.Host.Privileged, Access: "rwm"}}},
		},
	}
	groups, err := FindCgroups()
	if err != nil {
		return nil, err
	}
	if err := c.namespaces(s, groups); err != nil {
		return nil, err
	}
	if err := limit(s.Linux.Resources, &cfg.Host.Resources, groups); err != nil {
		return nil, err
	}
	if err := c.devices(s); err != nil {
		return nil, err
	}
	if err := c.mounts(s, groups); err != nil {
		return nil, err
	}
	return s, c.secure(s)
}

// process is a command of a container, its first or another.
func (c *Container) process(p *Process, rows, cols uint16) (*specs.Process, error) {
	host := &c.Config.Host
	args := p.Args()
	if len(args) == 0 || args[0] == "" {
		return nil, &RuntimeError{Text: "no command: neither the image nor the command line has one", Status: 125}
	}
	user, home, err := lookupUser(c.Root(), p.User, host.GroupAdd)
	if err != nil {
		return nil, err
	}
	if host.Init {
		args = append([]string{initPath, "--"}, args...)
	}
	out := &specs.Process{
		Terminal: p.Tty, User: user, Args: args, Env: environment(p, home),
		Cwd: path.Join("/", p.WorkingDir),
	}
	if p.Tty && rows > 0 {
		out.ConsoleSize = &specs.Box{Height: uint(rows), Width: uint(cols)}
	}
	for _, u := range host.Ulimits {
		out.Rlimits = append(out.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: u.Soft, Hard: u.Hard})
	}
	if host.OomScoreAdj != 0 {
		out.OOMScoreAdj = &host.OomScoreAdj
	}
	caps, err := capabilities(host)
	if err != nil {
		return nil, err
	}
	out.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	if user.UID != 0 {
		// As docker: a user other than root has none until a program gives it some.
		out.Capabilities.Effective, out.Capabilities.Permitted = nil, nil
	}
	for _, o := range host.SecurityOpt {
		if o == "no-new-privileges" || o == "no-new-privileges:true" || o == "no-new-privileges=true" {
			out.NoNewPrivileges = true
		}
	}
	return out, nil
}

// environment is that of the image and the command line, and what is in none of
// them but expected.
func environment(p *Process, home string) []string {
	env := slices.Clone(p.Env)
	has := func(name string) bool {
		return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	var more []string
	if !has("PATH") {
		more = append(more, defaultPath)
	}
	if !has("HOSTNAME") && p.Hostname != "" {
		more = append(more, "HOSTNAME="+p.Hostname)
	}
	if p.Tty && !has("TERM") {
		more = append(more, "TERM=xterm")
	}
	if !has("HOME") {
		env = append(env, "HOME="+home)
	}
	return append(more, env...)
}

// capabilities are those of docker, with and without what was asked for.
func capabilities(host *HostConfig) ([]string, error) {
	if host.Privileged {
		return boundingSet(), nil
	}
	set := map[string]bool{}
	for _, name := range defaultCapabilities {
		set[name] = true
	}
	for _, step := range []struct {
		flag  string
		names []string
		have  bool
	}{{"--cap-drop", host.CapDrop, false}, {"--cap-add", host.CapAdd, true}} {
		for _, name := range step.names {
			name = strings.ToUpper(name)
			if name == "ALL" {
				for _, n := range boundingSet() {
					set[n] = step.have
				}
				continue
			}
			name = "CAP_" + strings.TrimPrefix(name, "CAP_")
			if !slices.Contains(allCapabilities, name) {
				return nil, &RuntimeError{Text: fmt.Sprintf("%s %s: no such capability", step.flag, name), Status: 125}
			}
			set[name] = step.have
		}
	}
	// "--cap-drop ALL --cap-add X" and "--cap-add ALL --cap-drop X": the single one wins.
	for _, name := range host.CapDrop {
		if name = "CAP_" + strings.TrimPrefix(strings.ToUpper(name), "CAP_"); slices.ContainsFunc(host.CapAdd, func(a string) bool { return strings.EqualFold(a, "ALL") }) {
			set[name] = false
		}
	}
	maps.DeleteFunc(set, func(_ string, have bool) bool { return !have })
	return slices.Sorted(maps.Keys(set)), nil
}

// boundingSet are the capabilities that a process of ours can have at all.
func boundingSet() (names []string) {
	for n, name := range allCapabilities {
		have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err == nil && have == 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// namespaces are its own, but for those that it is to share.
func (c *Container) namespaces(s *specs.Spec, groups *Cgroups) error {
	host := &c.Config.Host
	add := func(t specs.LinuxNamespaceType, mode string) error {
		switch other, shared := strings.CutPrefix(mode, "container:"); {
		case mode == "host":
		case shared:
			path, err := c.namespaceOf(other, t)
			if err != nil {
				return err
			}
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t, Path: path})
		default:
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t})
		}
		return nil
	}
	cgroupns := host.CgroupnsMode
	if cgroupns == "" && !groups.Unified {
		cgroupns = "host" // as docker has it for version 1
	}
	if host.UTSMode == "host" {
		s.Hostname = ""
	}
	return errors.Join(add(specs.MountNamespace, ""), add(specs.NetworkNamespace, host.NetworkMode), add(specs.UTSNamespace, host.UTSMode),
		add(specs.PIDNamespace, host.PidMode), add(specs.IPCNamespace, host.IpcMode), add(specs.CgroupNamespace, cgroupns))
}

// namespaceOf is the path of a namespace of another container, which runs.
func (c *Container) namespaceOf(other string, t specs.LinuxNamespaceType) (string, error) {
	o, err := c.store.Find(background, other)
	if err != nil {
		return "", fmt.Errorf("container %s: %w", other, err)
	}
	if !o.running() {
		return "", fmt.Errorf("container %s: %w", other, &NotRunningError{other})
	}
	name := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.PIDNamespace: "pid", specs.IPCNamespace: "ipc"}[t]
	return fmt.Sprintf("/proc/%d/ns/%s", o.State.Init.Pid, name), nil
}

// secure adds what keeps it in.
func (c *Container) secure(s *specs.Spec) error {
	host := &c.Config.Host
	if host.Privileged {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		return nil
	}
	profile := ""
	for _, o := range host.SecurityOpt {
		key, value, _ := strings.Cut(strings.Replace(o, ":", "=", 1), "=")
		switch key {
		case "seccomp":
			profile = value
		case "systempaths":
			if value == "unconfined" {
				s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
			}
		case "apparmor":
			s.Process.ApparmorProfile = value
		}
	}
	var err error
	switch profile {
	case "unconfined":
		return nil
	case "":
		s.Linux.Seccomp, err = seccomp.GetDefaultProfile(s)
	default:
		var b []byte
		if b, err = os.ReadFile(profile); err == nil {
			s.Linux.Seccomp, err = seccomp.LoadProfile(string(b), s)
		}
	}
	if err != nil {
		return &RuntimeError{Text: fmt.Sprintf("seccomp %s: %v", profile, err), Status: 125}
	}
	return nil
}

// writeBundle writes what the runtime is given.
func (c *Container) writeBundle(rows, cols uint16) error {
	if err := c.writeEtc(); err != nil {
		return err
	}
	s, err := c.spec(rows, cols)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(c.dir, "bundle", "config.json"), s)
}
