package container

import (
	"time"
)

// A Config is what was asked for: docker's inspect without the state. Its JSON
// names are docker's.
type Config struct {
	ID      string     `json:"Id"`
	Name    string     `json:"Name"`
	Created time.Time  `json:"Created"`
	Image   Image      `json:"ImageRef"`
	Process Process    `json:"Config"`
	Host    HostConfig `json:"HostConfig"`
	Mounts  []Mount    `json:"Mounts"`
}

// An Image is what a container was made of.
type Image struct {
	Name     string `json:"Name"`     // as typed, or the familiar name
	Source   string `json:"Source"`   // a reference that finds the same one again
	Digest   string `json:"Digest"`   // of the manifest; "" where there is none
	ID       string `json:"Id"`       // digest of the config; "" where there is none
	Platform string `json:"Platform"` // as asked for
}

// A Process is what runs, the image's config with the command line's flags over
// it.
type Process struct {
	Hostname     string
	User         string // USER[:GROUP] by name or number, looked up in the root file system
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Image        string
	Volumes      map[string]struct{} `json:",omitempty"`
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	StopTimeout  *int   `json:",omitempty"` // seconds
}

// Args is the command line.
func (p *Process) Args() []string { return append(append([]string{}, p.Entrypoint...), p.Cmd...) }

// A HostConfig is how it runs.
type HostConfig struct {
	AutoRemove     bool
	NetworkMode    string // none, host or container:ID
	PidMode        string // "", host
	IpcMode        string // "", host
	UTSMode        string // "", host
	CgroupnsMode   string // private, host
	RestartPolicy  RestartPolicy
	LogConfig      LogConfig
	CapAdd         []string
	CapDrop        []string
	Privileged     bool
	ReadonlyRootfs bool
	SecurityOpt    []string
	GroupAdd       []string
	Dns            []string //lint:ignore ST1003 docker's name
	DnsSearch      []string //lint:ignore ST1003 docker's name
	DnsOptions     []string //lint:ignore ST1003 docker's name
	ExtraHosts     []string // HOST:ADDRESS
	Devices        []Device
	Ulimits        []Ulimit
	Sysctls        map[string]string `json:",omitempty"`
	ShmSize        int64             // bytes
	Init           bool
	OomScoreAdj    int
	Runtime        string // program; "" is runc or crun, whichever is there
	CgroupParent   string
	Engine         string // who serves the root file system: "" as mount has it, fuse or kernel
	Resources
}

// Resources are the limits. Zero is none.
type Resources struct {
	Memory            int64 // bytes
	MemoryReservation int64
	MemorySwap        int64 // bytes, memory included; -1 is no limit
	NanoCpus          int64 // 1e9 is one processor
	CPUShares         int64 `json:"CpuShares"`
	CPUPeriod         int64 `json:"CpuPeriod"` // microseconds
	CPUQuota          int64 `json:"CpuQuota"`  // microseconds
	CpusetCpus        string
	CpusetMems        string
	PidsLimit         int64
	OomKillDisable    bool
}

// A RestartPolicy says when a container that has ended is started again.
type RestartPolicy struct {
	Name              string // no, on-failure, always, unless-stopped
	MaximumRetryCount int    // of on-failure; 0 is without end
}

// A LogConfig says how output is kept.
type LogConfig struct {
	Type   string            // json-file or none
	Config map[string]string // max-size, max-file
}

// A Device is one of the host's that the container sees.
type Device struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string // of r, w, m
}

// A Ulimit is one of setrlimit(2)'s, by name without RLIMIT_.
type Ulimit struct {
	Name       string
	Soft, Hard uint64
}

// A Mount is something of the host's, or memory, in the tree of a container.
type Mount struct {
	Type        string   // bind, volume or tmpfs
	Name        string   `json:",omitempty"` // of a volume
	Source      string   // path on the host
	Destination string   // path in the container
	Mode        string   // as typed
	RW          bool     // may be written
	Propagation string   `json:",omitempty"`
	Options     []string `json:",omitempty"` // of tmpfs
	Anonymous   bool     `json:",omitempty"` // a volume that goes with the container
	NoCopy      bool     `json:",omitempty"` // a new volume does not get what the image has there
}

// A State is what has become of a container.
type State struct {
	Status     Status
	OOMKilled  bool
	ExitCode   int
	Error      string // why it could not be started
	StartedAt  time.Time
	FinishedAt time.Time
	Restarts   int

	Init    Proc   // its first process, while it runs
	Stopped bool   // by the user, so that no policy starts it again
	Engine  string `json:",omitempty"` // how the root file system is mounted
}

// Status is what docker calls it.
type Status string

const (
	Created    Status = "created"
	Starting   Status = "starting" // becomes running, or exited if that fails
	Running    Status = "running"
	Paused     Status = "paused" // never kept: the cgroup tells
	Restarting Status = "restarting"
	Exited     Status = "exited"
	Removing   Status = "removing"
)
