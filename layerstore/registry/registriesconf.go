package registry

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// A registriesConf is what is used of containers-registries.conf(5), version 2.
type registriesConf struct {
	Registry []confRegistry
}

type confRegistry struct {
	Prefix, Location   string
	Insecure, Blocked  bool
	Mirror             []confMirror
	MirrorByDigestOnly bool `toml:"mirror-by-digest-only"`
	file               string
}

type confMirror struct {
	Location       string
	Insecure       bool
	PullFromMirror string `toml:"pull-from-mirror"`
}

// A BlockedError says that an administrator has forbidden a registry.
type BlockedError struct{ Prefix, File string }

func (e *BlockedError) Error() string { return fmt.Sprintf("%s is blocked by %s", e.Prefix, e.File) }

// Code is a stable word for programs.
func (e *BlockedError) Code() string { return "denied" }

// Hint is what may help, or "".
func (e *BlockedError) Hint() string { return "" }

// registriesConfFiles are podman's: a user's file takes the place of the
// system's, files of a directory are added.
func registriesConfFiles() []string {
	const system = "/etc/containers/registries.conf"
	main, dirs := system, []string{system + ".d"}
	if dir, err := os.UserConfigDir(); err == nil {
		own := filepath.Join(dir, "containers", "registries.conf")
		if _, err := os.Stat(own); err == nil {
			main = own
		}
		dirs = append(dirs, own+".d")
	}
	if file := os.Getenv("CONTAINERS_REGISTRIES_CONF"); file != "" {
		main = file
	}
	files := []string{main}
	for _, dir := range dirs {
		more, _ := filepath.Glob(filepath.Join(dir, "*.conf")) // sorted; only the pattern can be wrong
		files = append(files, more...)
	}
	return files
}

// fromRegistriesConf gives the places of the longest prefix that a repository
// has; of two alike the later one.
func fromRegistriesConf(own routing) (r routing, found bool, err error) {
	var best confRegistry
	full, length := own.itself.host+"/"+own.itself.name, 0
	for _, file := range registriesConfFiles() {
		var conf registriesConf
		_, err := toml.DecodeFile(file, &conf)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return own, false, fmt.Errorf("%s: %w", file, err)
		}
		for _, c := range conf.Registry {
			if c.Prefix == "" {
				c.Prefix = c.Location
			}
			if n := matched(full, c.Prefix); n > 0 && n >= length {
				best, length = c, n
				best.file = file
			}
		}
	}
	if length == 0 {
		return own, false, nil
	}
	if best.Blocked {
		return own, true, &BlockedError{best.Prefix, best.file}
	}
	r, err = best.routing(own, full[length:])
	if err != nil {
		err = fmt.Errorf("%s: %w", best.file, err)
	}
	return r, true, err
}

// matched gives how long the part of a repository's full name is that a prefix
// is of; 0 is none.
func matched(full, prefix string) int {
	host, _, _ := strings.Cut(full, "/")
	if suffix, wild := strings.CutPrefix(prefix, "*"); wild {
		if strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix) {
			return len(host)
		}
		return 0
	}
	prefix = strings.TrimRight(prefix, "/")
	if rest, ok := strings.CutPrefix(full, prefix); !ok || prefix == "" || rest != "" && rest[0] != '/' {
		return 0
	}
	return len(prefix)
}

// routing puts the locations in place of the prefix.
func (c *confRegistry) routing(r routing, rest string) (routing, error) {
	r.itself.insecure, r.push.insecure = c.Insecure, c.Insecure
	var err error
	if c.Location != "" && c.Location != c.Prefix {
		r.moved = true
		if r.itself, err = located(c.Location, rest, c.Insecure); err != nil {
			return r, err
		}
	}
	for _, m := range c.Mirror {
		p, err := located(m.Location, rest, m.Insecure)
		if err != nil {
			return r, err
		}
		switch m.PullFromMirror {
		case "", "all":
			p.noTags = c.MirrorByDigestOnly
		case "digest-only":
			p.noTags = true
		case "tag-only":
			p.noDigests = true
		default:
			return r, fmt.Errorf("mirror %s: pull-from-mirror is %q", m.Location, m.PullFromMirror)
		}
		r.mirrors = append(r.mirrors, p)
	}
	return r, nil
}

func located(location, rest string, insecure bool) (place, error) {
	host, name, _ := strings.Cut(strings.TrimRight(location, "/")+rest, "/")
	if host == "" || name == "" || strings.Contains(location, "://") {
		return place{}, fmt.Errorf("location %q is not HOST[:PORT][/PATH]", location)
	}
	return place{host: host, name: name, insecure: insecure}, nil
}
