package e2e

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tokens server gives tokens for a registry to who has its password or its
// identity token (the distribution's "Token Authentication Specification").
type tokens struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	cert string // base64 of DER, as x5c has it

	mu     sync.Mutex
	scopes []string // that were asked for
}

// newTokens starts one, and gives the section auth of a registry that believes
// it. What it signs with is in dir, by [writeCertificates].
func newTokens(t *testing.T, dir string) (*tokens, string) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "host.crt"), filepath.Join(dir, "host.key"))
	must(err)
	s := &tokens{key: pair.PrivateKey.(*ecdsa.PrivateKey), cert: base64.StdEncoding.EncodeToString(pair.Certificate[0])}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s, fmt.Sprintf("auth:\n  token:\n    realm: %s/token\n    service: e2e\n    issuer: e2e\n    rootcertbundle: %s/ca.crt\n", s.URL, dir)
}

func (s *tokens) serve(w http.ResponseWriter, r *http.Request) {
	must(r.ParseForm())
	user, password, _ := r.BasicAuth()
	known := user == "user" && password == "secret" || r.PostForm.Get("refresh_token") == "identity"
	scopes := strings.Fields(strings.Join(r.Form["scope"], " "))
	s.mu.Lock()
	s.scopes = append(s.scopes, scopes...)
	s.mu.Unlock()
	if user != "" && !known {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	for _, scope := range scopes {
		part := strings.Split(scope, ":")
		public := strings.HasPrefix(part[1], "public/") && part[2] == "pull"
		if len(part) == 3 && (known || public) {
			granted = append(granted, access{part[0], part[1], strings.Split(part[2], ",")})
		}
	}
	token := s.sign(map[string]any{
		"iss": "e2e", "sub": user, "aud": "e2e", "jti": "1", "access": granted,
		"nbf": time.Now().Add(-time.Minute).Unix(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	})
	must(json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 60}))
}

// sign makes a JWT (RFC 7515) by ES256.
func (s *tokens) sign(claims any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		must(err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{s.cert}}) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	a, b, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	must(err)
	return text + "." + base64.RawURLEncoding.EncodeToString(append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...))
}

// helper puts a credential helper into a directory of its own, which it gives:
// it knows a registry as user with a secret, and notes what it is asked.
func helper(t *testing.T, name, user, secret string) string {
	dir := newDir(t)
	script := fmt.Sprintf("#!/bin/sh\nread -r host\necho \"$1 $host\" >>%s/asked\ncase $1 in get) echo '{\"ServerURL\":\"'\"$host\"'\",\"Username\":\"%s\",\"Secret\":\"%s\"}' ;; esac\n", dir, user, secret)
	must(os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(script), 0o755))
	return dir
}

// TestRegistryTokens: a registry that sends its clients to another server for
// tokens; with passwords of login's, of a helper's, and without.
func TestRegistryTokens(t *testing.T) {
	files := newDir(t)
	writeCertificates(files)
	server, auth := newTokens(t, files)
	r := newRegistry(t, auth)
	want := r.push("private/app:1", registryImage(), "--dest-creds", "user:secret")
	r.push("public/app:1", registryImage(), "--dest-creds", "user:secret")
	name, h := r.addr+"/private/app:1", newHost(t)
	h.mica("pull", r.addr+"/public/app:1")
	h.mica("rmi", r.addr+"/public/app:1")
	h.mica("prune", "--all")
	refused := func(about, want string, args ...string) {
		t.Helper()
		out, err := output(h.command(args...))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: mica %s printed %q, %v; want an error about %q", about, strings.Join(args, " "), out, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: a token is told: %v", about, err)
		}
	}
	refused("no password", "not authorised: no credentials for "+r.addr, "pull", name)
	refused("a wrong one", "user name or password is wrong", "login", "-u", "user", "-p", "wrong", r.addr)

	h.mica("login", "-u", "user", "-p", "secret", r.addr)
	h.mica("pull", name)
	h.wantPulled(name, want)
	h.mica("push", name, r.addr+"/private/other/app:2")
	server.mu.Lock()
	if asked := strings.Join(server.scopes, " "); !strings.Contains(asked, "repository:private/other/app:pull,push") {
		t.Errorf("no token was asked for to push: %s", asked)
	}
	server.mu.Unlock()
	h.mica("logout", r.addr)
	refused("after logout", "not authorised", "pull", name)

	config := filepath.Join(h.dir, "config")
	must(os.Mkdir(config, 0o755))
	for _, tt := range []struct{ about, user, secret string }{
		{"a helper's password", "user", "secret"},
		{"a helper's identity token", "<token>", "identity"},
	} {
		dir := helper(t, "e2e", tt.user, tt.secret)
		must(os.WriteFile(filepath.Join(config, "config.json"), fmt.Appendf(nil, `{"credHelpers":{%q:"e2e"}}`, r.addr), 0o644))
		h.mica("rmi", name)
		h.mica("prune", "--all")
		cmd := h.command("pull", name)
		cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+config, "PATH="+dir+":"+os.Getenv("PATH"))
		if _, err := output(cmd); err != nil {
			t.Errorf("%s: %v", tt.about, err)
		}
		if asked, _ := os.ReadFile(filepath.Join(dir, "asked")); !strings.Contains(string(asked), "get "+r.addr+"\n") {
			t.Errorf("%s: the helper was asked %q", tt.about, asked)
		}
		h.wantPulled(name, want)
	}
	missing := h.command("pull", name)
	missing.Env = append(missing.Env, "DOCKER_CONFIG="+config)
	if _, err := output(missing); err == nil || !strings.Contains(err.Error(), "docker-credential-e2e") {
		t.Errorf("a helper that is missing: %v", err)
	}
}

// TestTokenExpires: in the middle of a blob the registry wants another token.
func TestTokenExpires(t *testing.T) {
	files := newDir(t)
	writeCertificates(files)
	server, auth := newTokens(t, files)
	r := newRegistry(t, auth)
	want := r.push("private/app:1", registryImage(), "--dest-creds", "user:secret")
	f, h := newFaulty(t, r), newHost(t)
	var mu sync.Mutex
	late := map[string]bool{} // tokens that are not taken any more
	f.spoil("/blobs/", func(w http.ResponseWriter, req *http.Request, number int, next http.Handler) {
		token := req.Header.Get("Authorization")
		mu.Lock()
		bad := late[token]
		if req.Header.Get("Range") == "" && number < 4 {
			late[token] = true
		}
		mu.Unlock()
		if bad {
			answer(http.StatusUnauthorized, "WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="e2e",scope="repository:private/app:pull",error="invalid_token"`, server.URL))(w, req, 0, next)
			return
		}
		if req.Header.Get("Range") == "" && number < 4 {
			cutAt(50)(w, req, number, next)
		}
		next.ServeHTTP(w, req)
	})
	h.mica("login", "-u", "user", "-p", "secret", f.addr())
	name := f.addr() + "/private/app:1"
	h.mica("pull", name)
	h.wantPulled(name, want)
}
