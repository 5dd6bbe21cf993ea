package container

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Complete fills in what the command line has left open with what the image
// says, by docker's rules. entrypoint says that the command line has one, if
// only to have none.
func (cfg *Config) Complete(img *ocispec.ImageConfig, entrypoint bool) {
	p := &cfg.Process
	if !entrypoint {
		p.Entrypoint = img.Entrypoint
		if len(p.Cmd) == 0 {
			p.Cmd = img.Cmd
		}
	}
	p.Env = mergeEnv(img.Env, p.Env)
	if p.User == "" {
		p.User = img.User
	}
	if p.WorkingDir == "" {
		p.WorkingDir = img.WorkingDir
	}
	if p.StopSignal == "" {
		p.StopSignal = img.StopSignal
	}
	labels := map[string]string{}
	for _, from := range []map[string]string{img.Labels, p.Labels} {
		for k, v := range from {
			labels[k] = v
		}
	}
	p.Labels = labels
	for target := range img.Volumes {
		m := Mount{Type: "volume", Destination: target, RW: true, Anonymous: true}
		if m.check("VOLUME") != nil {
			continue // of a hostile image: "/" or "../x"
		}
		if !slices.ContainsFunc(cfg.Mounts, func(have Mount) bool { return have.Destination == m.Destination }) {
			cfg.Mounts = append(cfg.Mounts, m)
		}
	}
	slices.SortStableFunc(cfg.Mounts, func(a, b Mount) int { return strings.Compare(a.Destination, b.Destination) })
}

// mergeEnv gives an environment with another over it. A name without "=" in
// the second takes it away.
func mergeEnv(below, above []string) []string {
	out := []string{}
	for _, list := range [][]string{below, above} {
		for _, kv := range list {
			name, _, valued := strings.Cut(kv, "=")
			out = slices.DeleteFunc(out, func(have string) bool { return strings.HasPrefix(have, name+"=") })
			if valued && name != "" {
				out = append(out, kv)
			}
		}
	}
	return out
}

// ParseSignal reads a signal's number, or its name with or without SIG.
func ParseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	var n int
	if _, err := fmt.Sscanf(name, "SIGRTMIN+%d", &n); err == nil && n >= 0 && n <= 30 {
		return unix.Signal(34 + n), nil
	}
	return 0, fmt.Errorf("no such signal: %s", text)
}

// stopSignal is what asks a container to end.
func (p *Process) stopSignal() unix.Signal {
	if s, err := ParseSignal(p.StopSignal); err == nil {
		return s
	}
	return unix.SIGTERM
}
