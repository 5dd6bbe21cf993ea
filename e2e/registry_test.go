package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A registry is the distribution's, as Debian has it, on a port of its own.
type registry struct {
	t    *testing.T
	addr string // "127.0.0.1:PORT"
	dir  string
}

// newRegistry starts one; more is added to the section http of its settings, or
// after it.
func newRegistry(t *testing.T, more string) *registry {
	t.Helper()
	needTool(t, "docker-registry")
	needTool(t, "skopeo")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{t: t, addr: l.Addr().String(), dir: newDir(t)}
	l.Close()
	config := fmt.Sprintf("version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: %s/data\n  delete:\n    enabled: true\nhttp:\n  addr: %s\n%s",
		r.dir, r.addr, strings.ReplaceAll(more, "DIR", r.dir))
	must(os.WriteFile(filepath.Join(r.dir, "config.yml"), []byte(config), 0o644))
	cmd := exec.Command("docker-registry", "serve", filepath.Join(r.dir, "config.yml"))
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	return r.start(cmd)
}

func (r *registry) start(cmd *exec.Cmd) *registry {
	r.t.Helper()
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	until(r.t, "the registry answers", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return r
}

// random is what no compression makes smaller.
func random(seed int64, n int) string {
	b := make([]byte, n)
	mathrand.New(mathrand.NewSource(seed)).Read(b)
	return string(b)
}

// registryImage has layers long enough to be cut in the middle.
func registryImage() image {
	return image{
		layerOf(dir("etc"), file("etc/motd", "hello\n"), file("etc/noise", random(1, 3<<20))),
		layerOf(file("etc/more", random(2, 1<<20)), file("etc/text", strings.Repeat("text ", 100000))),
	}
}

// push has skopeo push the image, and gives its manifest's digest.
func (r *registry) push(name string, im image, flags ...string) digest.Digest {
	r.t.Helper()
	layout := filepath.Join(newDir(r.t), "image")
	if _, err := im.writeOCI(layout, gzipped); err != nil {
		r.t.Fatal(err)
	}
	run(r.t, r.dir, "skopeo", append([]string{"copy", "-q", "--dest-tls-verify=false"}, append(flags, "oci:"+layout, "docker://"+r.addr+"/"+name)...)...)
	raw := run(r.t, r.dir, "skopeo", "inspect", "--raw", "oci:"+layout)
	return digest.FromString(raw)
}

// wantBlobs fails if a blob of the store is not the one of its name.
func (h *host) wantBlobs() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "store/images/blobs/sha256/*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			h.t.Fatal(err)
		}
		if got := digest.FromBytes(b).Encoded(); got != filepath.Base(path) {
			h.t.Errorf("blob %s has the bytes of %s", filepath.Base(path), got)
		}
	}
}

// wantPulled fails if an image is not wholly there and as it was pushed.
func (h *host) wantPulled(name string, want digest.Digest) {
	h.t.Helper()
	if got := digest.FromString(h.mica("inspect", "--pull=never", "--raw", name)); got != want {
		h.t.Errorf("%s: pulled %s, pushed %s", name, got, want)
	}
	if got := h.mica("cat", "--pull=never", name, "/etc/noise"); got != random(1, 3<<20) {
		h.t.Errorf("%s: /etc/noise is not what it was", name)
	}
	h.wantBlobs()
}

func TestPull(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	want := r.push("e2e/app:1", registryImage())
	name := r.addr + "/e2e/app:1"
	if out := h.mica("pull", name); out != r.addr+"/e2e/app@"+want.String()+"\n" {
		t.Errorf("pull printed %q", out)
	}
	h.wantPulled(name, want)
	h.mica("verify", "--pull=never", name)
	// Others read the store as it is, and digests stay.
	run(t, h.dir, "skopeo", "copy", "-q", "oci:store/images:"+name, "oci:copy:x")
	if got := digest.FromString(run(t, h.dir, "skopeo", "inspect", "--raw", "oci:copy:x")); got != want {
		t.Errorf("skopeo copies %s out of the store, want %s", got, want)
	}
	// By digest, and by being asked for.
	h.mica("rmi", name)
	byDigest := r.addr + "/e2e/app@" + want.String()
	if got := h.mica("cat", "--pull=missing", byDigest, "/etc/motd"); got != "hello\n" {
		t.Errorf("cat %s printed %q", byDigest, got)
	}
	h.mica("pull", "-a", r.addr+"/e2e/app")
	if _, err := output(h.command("pull", r.addr+"/e2e/app:2")); err == nil || !strings.Contains(err.Error(), "no manifest 2 of e2e/app") {
		t.Errorf("pull of a tag that is not there: %v", err)
	}
}

// A certificate of an authority of its own, in DIR/{ca.crt,host.crt,host.key}.
func writeCertificates(dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	must(err)
	host := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	hostDER, err := x509.CreateCertificate(rand.Reader, host, ca, &key.PublicKey, key)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(err)
	for name, block := range map[string]*pem.Block{
		"ca.crt": {Type: "CERTIFICATE", Bytes: caDER}, "host.crt": {Type: "CERTIFICATE", Bytes: hostDER}, "host.key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		must(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}

// The password is "secret".
const htpasswd = "user:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"

func TestRegistryPasswordTLS(t *testing.T) {
	files := newDir(t)
	writeCertificates(files)
	must(os.WriteFile(filepath.Join(files, "htpasswd"), []byte(htpasswd), 0o600))
	must(os.Mkdir(filepath.Join(files, "certs"), 0o755))
	must(os.Link(filepath.Join(files, "ca.crt"), filepath.Join(files, "certs/ca.crt")))
	r := newRegistry(t, strings.ReplaceAll("  tls:\n    certificate: FILES/host.crt\n    key: FILES/host.key\nauth:\n  htpasswd:\n    realm: e2e\n    path: FILES/htpasswd\n", "FILES", files))
	want := r.push("e2e/app:1", registryImage(), "--dest-creds", "user:secret")
	name, h := r.addr+"/e2e/app:1", newHost(t)
	certs := "--cert-dir=" + filepath.Join(files, "certs")
	for _, tt := range []struct {
		about, want string
		args        []string
	}{
		{"an unknown authority", "unknown authority", []string{"pull", name}},
		{"no credentials", "not authorised: no credentials for " + r.addr, []string{"pull", certs, name}},
		{"a wrong password", "user name or password is wrong", []string{"login", certs, "-u", "user", "-p", "wrong", r.addr}},
	} {
		out, err := output(h.command(tt.args...))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: mica %s printed %q, %v; want an error about %q", tt.about, strings.Join(tt.args, " "), out, err, tt.want)
		}
	}
	login := h.command("login", certs, "-u", "user", "--password-stdin", r.addr)
	login.Stdin = strings.NewReader("secret\n")
	if _, err := output(login); err != nil {
		t.Fatal(err)
	}
	h.mica("pull", certs, name)
	h.wantPulled(name, want)
	// What docker or podman has written is read; and ours by skopeo.
	run(t, h.dir, "skopeo", "inspect", "--raw", "--authfile", filepath.Join(h.dir, ".docker/config.json"), "--cert-dir", filepath.Join(files, "certs"), "docker://"+name)
	h.mica("logout", r.addr)
	if _, err := output(h.command("pull", certs, name)); err == nil {
		t.Error("pull after logout worked")
	}
	run(t, h.dir, "skopeo", "login", "--tls-verify=false", "--authfile", filepath.Join(h.dir, "auth.json"), "-u", "user", "-p", "secret", r.addr)
	h.mica("rmi", name)
	h.mica("pull", "--tls-verify=false", "--authfile", filepath.Join(h.dir, "auth.json"), name)
	h.wantPulled(name, want)
}

func TestPush(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	want := r.push("e2e/app:1", registryImage())
	h.mica("pull", r.addr+"/e2e/app:1")
	to := r.addr + "/e2e/other/app:2"
	if out := h.mica("push", r.addr+"/e2e/app:1", to); out != r.addr+"/e2e/other/app@"+want.String()+"\n" {
		t.Errorf("push printed %q", out)
	}
	if got := digest.FromString(run(t, h.dir, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+to)); got != want {
		t.Errorf("skopeo finds %s, pushed %s", got, want)
	}
	// To a registry that has nothing of it.
	far := newRegistry(t, "")
	h.mica("push", r.addr+"/e2e/app:1", far.addr+"/e2e/app:1")
	run(t, h.dir, "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://"+far.addr+"/e2e/app:1", "oci:back:x")
	if got := digest.FromString(run(t, h.dir, "skopeo", "inspect", "--raw", "oci:back:x")); got != want {
		t.Errorf("skopeo pulls %s, pushed %s", got, want)
	}
}
