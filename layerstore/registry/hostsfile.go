package registry

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// A hostsFile is what is used of containerd's hosts.toml (docs/hosts.md there).
type hostsFile struct {
	Server string
	Host   map[string]hostsHost
	hostsHost
}

type hostsHost struct {
	Capabilities []string
	CA           any
	Client       any
	SkipVerify   bool `toml:"skip_verify"`
	OverridePath bool `toml:"override_path"`
}

// hostsFiles are those that there may be for a host; the first counts.
func hostsFiles(host string) []string {
	roots := []string{"/etc/containerd/certs.d"}
	if dir, err := os.UserConfigDir(); err == nil {
		roots = append([]string{filepath.Join(dir, "containerd", "certs.d")}, roots...)
	}
	var files []string
	for _, root := range roots {
		names := []string{host}
		if h, port, ok := strings.Cut(host, ":"); ok {
			names = append(names, h+"_"+port+"_")
		}
		for _, name := range append(names, "_default") {
			files = append(files, filepath.Join(root, name, "hosts.toml"))
		}
	}
	return files
}

func fromHostsFile(own routing) (routing, error) {
	for _, file := range hostsFiles(own.itself.host) {
		var hosts hostsFile
		meta, err := toml.DecodeFile(file, &hosts)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = hosts.route(&own, meta, filepath.Dir(file))
		}
		if err != nil {
			return own, fmt.Errorf("%s: %w", file, err)
		}
		break
	}
	return own, nil
}

// route adds the hosts in their order, and sets where the registry itself is.
func (h *hostsFile) route(r *routing, meta toml.MetaData, dir string) error {
	self := r.itself
	for _, key := range meta.Keys() {
		if len(key) != 2 || key[0] != "host" {
			continue
		}
		host := h.Host[key[1]]
		p, err := host.place(key[1], self, dir)
		if err != nil {
			return err
		}
		can := host.Capabilities
		if len(can) > 0 && !slices.Contains(can, "pull") {
			continue
		}
		p.noTags = len(can) > 0 && !slices.Contains(can, "resolve")
		r.mirrors = append(r.mirrors, p)
	}
	server := h.Server
	if server == "" {
		return nil
	}
	p, err := h.place(server, self, dir)
	if err != nil {
		return err
	}
	if p.host == dockerHub && self.host == "docker.io" {
		p.host = self.host // which the credentials are of
	}
	if p.host == self.host {
		p.ns = "" // nothing that it would not know
	}
	r.itself, r.push, r.moved = p, p, false
	return nil
}

// place gives where a repository is below an address.
func (h *hostsHost) place(address string, self place, dir string) (place, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return place{}, fmt.Errorf("%q is no address of a registry", address)
	}
	root := strings.TrimRight(u.Path, "/")
	if !h.OverridePath && !strings.HasSuffix(root, "/v2") {
		root += "/v2"
	}
	p := place{host: u.Host, name: self.name, root: u.Scheme + "://" + u.Host + root + "/", insecure: h.SkipVerify, ns: self.host}
	for _, ca := range list(h.CA) {
		p.ca = append(p.ca, inDir(dir, fmt.Sprint(ca)))
	}
	for _, client := range list(h.Client) {
		pair := list(client)
		if len(pair) == 0 {
			continue
		}
		cert := inDir(dir, fmt.Sprint(pair[0]))
		key := cert // one file with both
		if len(pair) > 1 && pair[1] != "" {
			key = inDir(dir, fmt.Sprint(pair[1]))
		}
		p.pairs = append(p.pairs, [2]string{cert, key})
	}
	return p, nil
}

// list gives what may be one value or several.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func inDir(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
