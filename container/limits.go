package container

import (
	"cmp"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// period is that of processor time in microseconds, unless asked otherwise.
const period = 100_000

// limit has the runtime limit what it is asked to, where there is a controller.
func limit(out *specs.LinuxResources, r *Resources, groups *Cgroups) error {
	for _, need := range []struct {
		asked            bool
		flag, controller string
	}{
		{r.Memory != 0 || r.MemoryReservation != 0 || r.MemorySwap > 0, "--memory", "memory"},
		{r.NanoCpus != 0 || r.CPUQuota != 0 || r.CPUShares != 0, "--cpus", "cpu"},
		{r.CpusetCpus != "" || r.CpusetMems != "", "--cpuset-cpus", "cpuset"},
		{r.PidsLimit > 0, "--pids-limit", "pids"},
	} {
		if need.asked {
			if err := groups.need(need.flag, need.controller); err != nil {
				return err
			}
		}
	}
	memoryLimit(out, r, groups)
	if r.NanoCpus != 0 || r.CPUQuota != 0 || r.CPUShares != 0 || r.CpusetCpus != "" || r.CpusetMems != "" {
		cpu := &specs.LinuxCPU{Cpus: r.CpusetCpus, Mems: r.CpusetMems}
		quota, per := r.CPUQuota, uint64(cmp.Or(r.CPUPeriod, period))
		if r.NanoCpus != 0 {
			quota, per = r.NanoCpus*period/1e9, period
		}
		if quota != 0 {
			cpu.Quota, cpu.Period = &quota, &per
		}
		if shares := uint64(r.CPUShares); shares != 0 {
			cpu.Shares = &shares
		}
		out.CPU = cpu
	}
	if r.PidsLimit > 0 {
		out.Pids = &specs.LinuxPids{Limit: &r.PidsLimit}
	}
	return nil
}

func memoryLimit(out *specs.LinuxResources, r *Resources, groups *Cgroups) {
	if r.Memory == 0 && r.MemoryReservation == 0 && r.MemorySwap == 0 {
		return
	}
	m := &specs.LinuxMemory{}
	if r.Memory != 0 {
		m.Limit = &r.Memory
	}
	if r.MemoryReservation != 0 {
		m.Reservation = &r.MemoryReservation
	}
	if swap := r.MemorySwap; groups.canLimitSwap() && (swap != 0 || r.Memory != 0) {
		if swap == 0 {
			swap = 2 * r.Memory // as docker has it
		}
		m.Swap = &swap
	}
	if r.OomKillDisable && !groups.Unified {
		m.DisableOOMKiller = &r.OomKillDisable
	}
	out.Memory = m
}

// rlimits are the limits of setrlimit(2) by name.
var rlimits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE,
	"locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
	"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// ParseUlimit reads NAME=SOFT[:HARD]; -1 is no limit. One that could not be
// raised so far is refused now and not when the container starts.
func ParseUlimit(text string) (Ulimit, error) {
	name, value, ok := strings.Cut(text, "=")
	which, known := rlimits[name]
	if !ok || !known {
		return Ulimit{}, fmt.Errorf("--ulimit %s: want NAME=SOFT[:HARD], NAME as nofile, nproc, core, …", text)
	}
	u := Ulimit{Name: name}
	soft, hard, two := strings.Cut(value, ":")
	if !two {
		hard = soft
	}
	for _, part := range []struct {
		text string
		to   *uint64
	}{{soft, &u.Soft}, {hard, &u.Hard}} {
		if part.text == "-1" || part.text == "unlimited" {
			*part.to = unix.RLIM_INFINITY
		} else if _, err := fmt.Sscanf(part.text, "%d", part.to); err != nil {
			return u, fmt.Errorf("--ulimit %s: %q is no number", text, part.text)
		}
	}
	if u.Soft > u.Hard {
		return u, fmt.Errorf("--ulimit %s: soft limit above the hard one", text)
	}
	var have unix.Rlimit
	if err := unix.Getrlimit(which, &have); err == nil && u.Hard > have.Max {
		can, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0)
		if err != nil || can == 0 {
			return u, fmt.Errorf("--ulimit %s: above the hard limit of this process, %d, and it may not raise that", text, have.Max)
		}
	}
	return u, nil
}
