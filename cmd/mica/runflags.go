package main

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"mica/container"
)

// runFlags are docker's of "run" and "create": how a container is to be.
type runFlags struct {
	cfg container.Config

	name, entrypoint, network, restart, memory, memorySwap, reservation, shm, cpus string
	env, envFiles, labels, labelFiles, volumes, mounts, tmpfs, ulimits, devices    []string
	logOpts, sysctls, hosts, publish                                               []string
	userns                                                                         string
	engine                                                                         choice
	interactive, tty                                                               bool
	stopTimeout                                                                    int
	pids                                                                           int64
}

func (f *runFlags) add(flags *pflag.FlagSet) {
	p, h := &f.cfg.Process, &f.cfg.Host
	flags.StringVar(&f.name, "name", "", "call the container `NAME` (default one that is made up)")
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "keep standard input open")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give it a terminal")
	flags.BoolVar(&h.AutoRemove, "rm", false, "remove the container when it ends")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set the variable `NAME=VALUE`, or NAME to what it is here")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "set variables from the lines of `FILE`")
	flags.StringVarP(&p.User, "user", "u", "", "run as `USER[:GROUP]`, by names of the image or by numbers")
	flags.StringArrayVar(&h.GroupAdd, "group-add", nil, "be in `GROUP` too")
	flags.StringVarP(&p.WorkingDir, "workdir", "w", "", "begin in the directory `DIR`")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "run `COMMAND` in place of the image's entrypoint")
	flags.StringVarP(&p.Hostname, "hostname", "h", "", "have the host name `NAME`")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "note `KEY=VALUE` on the container")
	flags.StringArrayVar(&f.labelFiles, "label-file", nil, "note the lines of `FILE` on the container")
	flags.StringVar(&p.StopSignal, "stop-signal", "", "the `SIGNAL` that asks it to end (default the image's, else TERM)")
	flags.IntVar(&f.stopTimeout, "stop-timeout", 10, "`SECONDS` it may take to end before it is killed")

	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "have `[SOURCE:]TARGET[:ro]` in it: a directory, or a volume by name")
	flags.StringArrayVar(&f.mounts, "mount", nil, "the same in words: `type=bind|volume|tmpfs,src=…,dst=…[,ro]`")
	flags.StringArrayVar(&f.tmpfs, "tmpfs", nil, "have memory at `TARGET[:OPTIONS]`")
	flags.BoolVar(&h.ReadonlyRootfs, "read-only", false, "let nothing be written but to what is mounted")
	addChoice(flags, &f.engine, "engine", "who serves the root file system: mica, or overlayfs over a read-only mount of mica's; auto is fuse here", "auto", "fuse", "kernel")
	flags.StringVar(&f.shm, "shm-size", "", "`SIZE` of /dev/shm (default 64m)")
	flags.StringArrayVar(&f.devices, "device", nil, "have the device `HOST[:TARGET[:rwm]]`")

	flags.StringArrayVar(&h.CapAdd, "cap-add", nil, "add the capability `NAME`, or ALL")
	flags.StringArrayVar(&h.CapDrop, "cap-drop", nil, "take away the capability `NAME`, or ALL")
	flags.BoolVar(&h.Privileged, "privileged", false, "all capabilities and devices, nothing hidden: for programs that are trusted as root is")
	flags.StringArrayVar(&h.SecurityOpt, "security-opt", nil, "`OPTION`: no-new-privileges, seccomp=FILE|unconfined, systempaths=unconfined")
	flags.StringArrayVar(&f.sysctls, "sysctl", nil, "set the kernel parameter `NAME=VALUE` of its namespaces")
	flags.StringVar(&f.network, "network", "", "`NETWORK`: none (the default, loopback alone), host, container:NAME")
	flags.StringVar(&f.network, "net", "", "the same")
	flags.StringArrayVarP(&f.publish, "publish", "p", nil, "docker's, for networks that mica has not yet: refused")
	flags.StringVar(&f.userns, "userns", "host", "`host`: user namespaces of a container's own are not there yet")
	flags.StringVar(&h.PidMode, "pid", "", "see the processes of `host`, or of container:NAME")
	flags.StringVar(&h.IpcMode, "ipc", "", "share memory and queues of `host`, or of container:NAME")
	flags.StringVar(&h.UTSMode, "uts", "", "have the host name of `host`")
	flags.StringVar(&h.CgroupnsMode, "cgroupns", "", "see control groups as `host` or private")
	flags.StringArrayVar(&f.hosts, "add-host", nil, "have `HOST:ADDRESS` in /etc/hosts")
	flags.StringArrayVar(&h.Dns, "dns", nil, "ask the name server `ADDRESS`")
	flags.StringArrayVar(&h.DnsSearch, "dns-search", nil, "complete names with `DOMAIN`")
	flags.StringArrayVar(&h.DnsOptions, "dns-option", nil, "`OPTION` of resolv.conf")

	f.addLimits(flags)
	flags.StringArrayVar(&f.ulimits, "ulimit", nil, "limit a process: `NAME=SOFT[:HARD]`")
	flags.IntVar(&h.OomScoreAdj, "oom-score-adj", 0, "how soon the kernel kills it for want of memory, -1000 to 1000")
	flags.BoolVar(&h.OomKillDisable, "oom-kill-disable", false, "let it wait for memory instead (cgroup v1)")
	flags.StringVar(&h.CgroupParent, "cgroup-parent", "", "the control `GROUP` it is below")
	flags.BoolVar(&h.Init, "init", false, "have a first process that waits for orphans and passes signals on")
	flags.StringVar(&h.LogConfig.Type, "log-driver", "json-file", "how output is kept: json-file or none")
	flags.StringArrayVar(&f.logOpts, "log-opt", nil, "`KEY=VALUE`: max-size (default 20m) of a log file, max-file (5) of them")
	flags.StringVar(&h.Runtime, "runtime", "", "the OCI runtime `PROGRAM` (default runc, else crun)")
	flags.Lookup("net").Hidden = true
	flags.Lookup("publish").Hidden = true
}

// addLimits adds the flags that update has as well.
func (f *runFlags) addLimits(flags *pflag.FlagSet) {
	r := &f.cfg.Host.Resources
	flags.StringVar(&f.restart, "restart", "no", "start it again when it ends: `POLICY` no, on-failure[:TIMES], always, unless-stopped")
	flags.StringVarP(&f.memory, "memory", "m", "", "limit memory to `SIZE`")
	flags.StringVar(&f.memorySwap, "memory-swap", "", "limit memory and swap together to `SIZE`; -1 is no limit")
	flags.StringVar(&f.reservation, "memory-reservation", "", "`SIZE` to go back to where memory is scarce")
	flags.StringVar(&f.cpus, "cpus", "", "limit it to `NUMBER` of processors, 0.5 for half of one")
	flags.Int64VarP(&r.CPUShares, "cpu-shares", "c", 0, "its `WEIGHT` among others, 1024 being that of each")
	flags.Int64Var(&r.CPUPeriod, "cpu-period", 0, "period of --cpu-quota in `MICROSECONDS`")
	flags.Int64Var(&r.CPUQuota, "cpu-quota", 0, "processor time a period in `MICROSECONDS`")
	flags.StringVar(&r.CpusetCpus, "cpuset-cpus", "", "run on these processors: `LIST`, as 0-3,7")
	flags.StringVar(&r.CpusetMems, "cpuset-mems", "", "use memory of these nodes: `LIST`")
	flags.Int64Var(&f.pids, "pids-limit", 0, "at most `NUMBER` of processes and threads; -1 is no limit")
}

// config gives what the flags and the command say; the image completes it.
func (f *runFlags) config(flags *pflag.FlagSet, command []string) (*container.Config, error) {
	cfg := &f.cfg
	p, h := &cfg.Process, &cfg.Host
	cfg.Name, p.Cmd, p.Tty, p.OpenStdin = f.name, command, f.tty, f.interactive
	if f.entrypoint != "" {
		p.Entrypoint = []string{f.entrypoint}
	}
	if flags.Changed("stop-timeout") {
		p.StopTimeout = &f.stopTimeout
	}
	h.Engine = f.engine.word
	switch mode, _, _ := strings.Cut(f.network, ":"); mode {
	case "", "none":
		h.NetworkMode = "none"
	case "host", "container":
		h.NetworkMode = f.network
	default:
		return nil, &usageError{err: fmt.Errorf("--network %s: no such network", f.network), hint: "none, host or container:NAME"}
	}
	if len(f.publish) > 0 && h.NetworkMode != "host" {
		return nil, &usageError{err: fmt.Errorf("-p %s: there is no network of the container's own to publish from", f.publish[0]), hint: "--network host: what it listens on is reached as it is"}
	}
	if f.userns != "host" {
		return nil, &usageError{err: fmt.Errorf("--userns %s: user namespaces are not there yet", f.userns), hint: "-u USER, --cap-drop ALL, --security-opt no-new-privileges"}
	}
	err := errors.Join(f.limits(h), f.environment(), f.notes(), f.mountings(), f.options())
	if err == nil && p.StopSignal != "" {
		_, err = container.ParseSignal(p.StopSignal)
	}
	if err == nil {
		err = container.CheckLog(h.LogConfig)
	}
	if err == nil && h.AutoRemove && h.RestartPolicy.Name != "no" {
		err = errors.New("--rm and --restart exclude each other")
	}
	if err != nil && !errors.As(err, new(*usageError)) {
		return nil, &usageError{err: err}
	}
	return cfg, err
}

// limits takes over what addLimits has flags for.
func (f *runFlags) limits(h *container.HostConfig) error {
	if f.pids != 0 {
		h.PidsLimit = f.pids
	}
	var err error
	for _, s := range []struct {
		flag, text string
		to         *int64
	}{{"--memory", f.memory, &h.Memory}, {"--memory-swap", f.memorySwap, &h.MemorySwap}, {"--memory-reservation", f.reservation, &h.MemoryReservation}, {"--shm-size", f.shm, &h.ShmSize}} {
		switch {
		case s.text == "":
		case s.text == "-1" && s.flag == "--memory-swap":
			*s.to = -1
		default:
			n, e := units.RAMInBytes(s.text)
			if e != nil || n <= 0 {
				err = errors.Join(err, fmt.Errorf("%s %s: no size (as 512m, 2g)", s.flag, s.text))
			}
			*s.to = n
		}
	}
	if f.cpus != "" {
		n, e := strconv.ParseFloat(f.cpus, 64)
		if e != nil || n <= 0 || n > math.MaxInt32 {
			err = errors.Join(err, fmt.Errorf("--cpus %s: no number of processors", f.cpus))
		}
		h.NanoCpus = int64(n * 1e9)
	}
	policy, times, counted := strings.Cut(f.restart, ":")
	h.RestartPolicy = container.RestartPolicy{Name: policy}
	switch {
	case policy == "on-failure" && counted:
		n, e := strconv.Atoi(times)
		if e != nil || n < 0 {
			err = errors.Join(err, fmt.Errorf("--restart %s: no number of times", f.restart))
		}
		h.RestartPolicy.MaximumRetryCount = n
	case counted, policy != "no" && policy != "on-failure" && policy != "always" && policy != "unless-stopped":
		err = errors.Join(err, fmt.Errorf("--restart %s: no, on-failure[:TIMES], always or unless-stopped", f.restart))
	}
	return err
}

// environment reads the variables of files, then those of flags.
func (f *runFlags) environment() error {
	var lines []string
	for _, name := range f.envFiles {
		more, err := readLines(name)
		if err != nil {
			return err
		}
		lines = append(lines, more...)
	}
	for _, kv := range append(lines, f.env...) {
		name, _, valued := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return fmt.Errorf("-e %s: no name of a variable", kv)
		}
		if !valued {
			if value, ok := os.LookupEnv(name); ok {
				kv = name + "=" + value
			}
		}
		f.cfg.Process.Env = append(f.cfg.Process.Env, kv)
	}
	return nil
}

// readLines gives the lines of a file but empty ones and comments.
func readLines(name string) (lines []string, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if line := strings.TrimLeft(s.Text(), " \t"); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (f *runFlags) notes() error {
	f.cfg.Process.Labels = map[string]string{}
	var lines []string
	for _, name := range f.labelFiles {
		more, err := readLines(name)
		if err != nil {
			return err
		}
		lines = append(lines, more...)
	}
	for _, l := range append(lines, f.labels...) {
		key, value, _ := strings.Cut(l, "=")
		f.cfg.Process.Labels[key] = value
	}
	return nil
}

func (f *runFlags) mountings() (err error) {
	add := func(texts []string, parse func(string) (container.Mount, error)) {
		for _, text := range texts {
			m, e := parse(text)
			err = errors.Join(err, e)
			for _, have := range f.cfg.Mounts {
				if have.Destination == m.Destination && e == nil {
					err = errors.Join(err, fmt.Errorf("%s is mounted to twice", m.Destination))
				}
			}
			f.cfg.Mounts = append(f.cfg.Mounts, m)
		}
	}
	add(f.volumes, container.ParseVolume)
	add(f.mounts, container.ParseMount)
	add(f.tmpfs, container.ParseTmpfs)
	return err
}

func (f *runFlags) options() (err error) {
	h := &f.cfg.Host
	for _, text := range f.ulimits {
		u, e := container.ParseUlimit(text)
		err = errors.Join(err, e)
		h.Ulimits = append(h.Ulimits, u)
	}
	for _, text := range f.devices {
		host, rest, _ := strings.Cut(text, ":")
		target, how, _ := strings.Cut(rest, ":")
		if target != "" && target[0] != '/' && how == "" {
			target, how = "", target
		}
		h.Devices = append(h.Devices, container.Device{PathOnHost: host, PathInContainer: first(target, host), CgroupPermissions: first(how, "rwm")})
	}
	for _, text := range f.hosts {
		if name, address, ok := strings.Cut(text, ":"); !ok || name == "" || address == "" {
			err = errors.Join(err, fmt.Errorf("--add-host %s: want HOST:ADDRESS", text))
		}
		h.ExtraHosts = append(h.ExtraHosts, text)
	}
	h.LogConfig.Config, h.Sysctls = map[string]string{}, map[string]string{}
	for flag, list := range map[string][]string{"--log-opt": f.logOpts, "--sysctl": f.sysctls} {
		to := h.LogConfig.Config
		if flag == "--sysctl" {
			to = h.Sysctls
		}
		for _, text := range list {
			key, value, ok := strings.Cut(text, "=")
			if !ok {
				err = errors.Join(err, fmt.Errorf("%s %s: want KEY=VALUE", flag, text))
			}
			to[key] = value
		}
	}
	return err
}
