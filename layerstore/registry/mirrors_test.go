package registry

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shown is what a test compares of a routing, a line a place.
func shown(r routing) string {
	line := func(kind string, p place) string {
		text := kind + " " + p.host + " " + p.name
		for word, on := range map[string]bool{" insecure": p.insecure, " digests": p.noTags, " tags": p.noDigests} {
			if on {
				text += word
			}
		}
		if p.root != "" {
			text += " " + p.root
		}
		if p.ns != "" {
			text += " ns=" + p.ns
		}
		return text
	}
	var lines []string
	for _, p := range r.mirrors {
		lines = append(lines, line("mirror", p))
	}
	lines = append(lines, line("itself", r.itself))
	if r.moved || r.push.root != "" {
		lines = append(lines, line("push", r.push))
	}
	return strings.Join(lines, "\n")
}

// emptyHome has no settings but those that a test writes; it gives the
// directory for them. Those of the machine are not looked at.
func emptyHome(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", filepath.Join(dir, "registries.conf"))
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRegistriesConf(t *testing.T) {
	const conf = `
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example:5000"
insecure = true
[[registry.mirror]]
location = "cache.example/hub"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "docker.io/library"
location = "inside.example/base"
[[registry]]
location = "plain.example:5000"
insecure = true
[[registry]]
prefix = "*.wild.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example"
[[registry]]
prefix = "bad.example"
blocked = true
[[registry]]
prefix = "odd.example"
[[registry.mirror]]
location = "https://m.example"
`
	dir := emptyHome(t)
	write(t, filepath.Join(dir, "registries.conf"), conf)
	write(t, filepath.Join(dir, "containers/registries.conf.d/later.conf"), "[[registry]]\nprefix = \"later.example/a\"\nlocation = \"b.example\"\n")
	for _, tt := range []struct{ about, host, name, want, fails string }{
		{about: "nothing said", host: "ghcr.io", name: "a/b", want: "itself ghcr.io a/b"},
		{about: "mirrors", host: "docker.io", name: "x/y", want: "mirror mirror.example:5000 x/y insecure\nmirror cache.example hub/x/y digests\nitself docker.io x/y"},
		{about: "the longest prefix, moved", host: "docker.io", name: "library/debian", want: "itself inside.example base/debian\npush docker.io library/debian"},
		{about: "a prefix ends at a slash", host: "docker.io", name: "libraryx/y", want: "mirror mirror.example:5000 libraryx/y insecure\nmirror cache.example hub/libraryx/y digests\nitself docker.io libraryx/y"},
		{about: "location alone", host: "plain.example:5000", name: "a", want: "itself plain.example:5000 a insecure"},
		{about: "a part of a host", host: "plain.example", name: "a", want: "itself plain.example a"},
		{about: "a wildcard", host: "a.wild.example", name: "a", want: "mirror m.example a digests\nitself a.wild.example a"},
		{about: "a file of the directory", host: "later.example", name: "a/b", want: "itself b.example b\npush later.example a/b"},
		{about: "blocked", host: "bad.example", name: "a", fails: "bad.example is blocked by "},
		{about: "an address", host: "odd.example", name: "a", fails: `location "https://m.example" is not HOST[:PORT][/PATH]`},
	} {
		r, err := routes(tt.host, tt.name)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: error %v, want %q", tt.about, err, tt.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
		}
		if d := cmp.Diff(tt.want, shown(r)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.about, d)
		}
	}
}

func TestHostsFile(t *testing.T) {
	dir := emptyHome(t)
	certs := filepath.Join(dir, "containerd/certs.d")
	write(t, filepath.Join(certs, "docker.io/hosts.toml"), `
server = "https://registry-1.docker.io"
[host."https://second.example"]
capabilities = ["pull"]
ca = "ca.crt"
client = [["c.crt", "c.key"], ["/both.pem", ""]]
[host."http://10.0.0.7:5000"]
capabilities = ["pull", "resolve"]
skip_verify = true
[host."https://path.example/v2/hub"]
override_path = true
[host."https://push.example"]
capabilities = ["push"]
`)
	write(t, filepath.Join(certs, "h_5000_/hosts.toml"), `[host."m.example"]`)
	write(t, filepath.Join(certs, "wrong.example/hosts.toml"), `server = 7`)
	write(t, filepath.Join(certs, "worse.example/hosts.toml"), `server = "ftp://x"`)
	for _, tt := range []struct{ host, want, fails string }{
		{host: "docker.io", want: "mirror second.example a/b digests https://second.example/v2/ ns=docker.io\n" +
			"mirror 10.0.0.7:5000 a/b insecure http://10.0.0.7:5000/v2/ ns=docker.io\n" +
			"mirror path.example a/b https://path.example/v2/hub/ ns=docker.io\n" +
			"itself docker.io a/b https://registry-1.docker.io/v2/\n" +
			"push docker.io a/b https://registry-1.docker.io/v2/"},
		{host: "h:5000", want: "mirror m.example a/b https://m.example/v2/ ns=h:5000\nitself h:5000 a/b"},
		{host: "else.example", want: "itself else.example a/b"},
		{host: "wrong.example", fails: "wrong.example/hosts.toml: "},
		{host: "worse.example", fails: `"ftp://x" is no address of a registry`},
	} {
		r, err := routes(tt.host, "a/b")
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: error %v, want %q", tt.host, err, tt.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.host, err)
			continue
		}
		if d := cmp.Diff(tt.want, shown(r)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.host, d)
		}
		if len(r.mirrors) > 1 {
			in := filepath.Join(certs, "docker.io")
			if d := cmp.Diff([]string{in + "/ca.crt", in + "/c.crt", in + "/c.key", "/both.pem", "/both.pem"},
				append(r.mirrors[0].ca, r.mirrors[0].pairs[0][0], r.mirrors[0].pairs[0][1], r.mirrors[0].pairs[1][0], r.mirrors[0].pairs[1][1])); d != "" {
				t.Errorf("certificates: (-want +got)\n%s", d)
			}
		}
	}
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
