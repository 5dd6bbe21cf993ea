package container

import (
	"path/filepath"
	"time"
)

// An Inspection is all that is known of a container, in docker's form.
type Inspection struct {
	ID           string `json:"Id"`
	Created      time.Time
	Path         string
	Args         []string
	State        InspectedState
	Image        string // digest of the config
	Name         string // with a slash before it, as docker has it
	RestartCount int
	Driver       string
	LogPath      string
	Mounts       []Mount
	Config       Process
	HostConfig   HostConfig

	ImageSource string // a reference to just this image
	ImageDigest string // of the manifest
	GraphDriver map[string]string
	Supervisor  bool // whether someone will see how it ends
}

// An InspectedState is docker's State.
type InspectedState struct {
	Status     Status
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
}

// Inspect gives what is known of it now.
func (c *Container) Inspect() Inspection {
	args := c.Config.Process.Args()
	in := Inspection{
		ID: c.Config.ID, Created: c.Config.Created, Path: args[0], Args: args[1:], Image: c.Config.Image.ID, Name: "/" + c.Config.Name,
		RestartCount: c.State.Restarts, Driver: "mica", LogPath: c.path("log.json"), Mounts: c.Config.Mounts,
		Config: c.Config.Process, HostConfig: c.Config.Host, ImageSource: c.Config.Image.Source, ImageDigest: c.Config.Image.Digest,
		GraphDriver: map[string]string{"UpperDir": c.Upper(), "WorkDir": c.Work(), "MergedDir": c.Root()},
		Supervisor:  c.Supervised(),
	}
	if in.Mounts == nil {
		in.Mounts = []Mount{}
	}
	st := &c.State
	in.State = InspectedState{
		Status: st.Status, Running: c.running(), Paused: c.Paused(), Restarting: st.Status == Restarting, OOMKilled: st.OOMKilled,
		ExitCode: st.ExitCode, Error: st.Error, StartedAt: st.StartedAt, FinishedAt: st.FinishedAt,
	}
	if in.State.Running {
		in.State.Status, in.State.Pid = Running, st.Init.Pid
	}
	if in.State.Paused {
		in.State.Status = Paused
	}
	return in
}

// A Usage is what a container takes, as its control groups have it.
type Usage struct {
	At     time.Time
	CPU    time.Duration // since it was started
	Memory int64         // bytes, without what could be dropped at once
	Limit  int64         // bytes; 0 is none
	Pids   int64
	Read   int64 // bytes from devices
	Wrote  int64
}

// Usage reads what it takes now.
func (c *Container) Usage() (Usage, error) {
	if !c.running() {
		return Usage{}, &NotRunningError{c.Config.Name}
	}
	g, err := FindCgroups()
	if err != nil {
		return Usage{}, err
	}
	u := Usage{At: time.Now(), Pids: counter(g.file(&c.Config, "pids", "pids.current", "pids.current"), "")}
	memory := func(v1, v2, name string) int64 { return counter(g.file(&c.Config, "memory", v1, v2), name) }
	u.Memory = memory("memory.usage_in_bytes", "memory.current", "")
	u.Limit = memory("memory.limit_in_bytes", "memory.max", "")
	if g.Unified {
		u.Memory -= memory("", "memory.stat", "inactive_file")
		u.CPU = time.Duration(counter(g.file(&c.Config, "cpu", "", "cpu.stat"), "usage_usec")) * time.Microsecond
	} else {
		u.Memory -= memory("memory.stat", "", "total_inactive_file")
		u.CPU = time.Duration(counter(g.file(&c.Config, "cpuacct", "cpuacct.usage", ""), ""))
	}
	if u.Limit > 1<<60 {
		u.Limit = 0
	}
	u.Read, u.Wrote = ioBytes(g.file(&c.Config, "blkio", "blkio.throttle.io_service_bytes", "io.stat"))
	return u, nil
}

// Processes are the numbers of its processes on the host.
func (c *Container) Processes() ([]int, error) {
	if !c.running() {
		return nil, &NotRunningError{c.Config.Name}
	}
	g, err := FindCgroups()
	if err != nil {
		return nil, err
	}
	return processesBelow(filepath.Dir(g.file(&c.Config, "pids", "cgroup.procs", "cgroup.procs")))
}
