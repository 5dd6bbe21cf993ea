package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A fault spoils the answer to a request: number is counted from 0 among those
// that it is for. It may answer by itself, or let next do and change what that says.
type fault func(w http.ResponseWriter, r *http.Request, number int, next http.Handler)

// A faulty is a registry behind something that spoils its answers.
type faulty struct {
	*httptest.Server
	mu    sync.Mutex
	fault fault
	match string // in the path of the requests that it is for
	count int
	asked atomic.Int64
	sent  atomic.Int64 // bytes that were uploaded
}

func newFaulty(t *testing.T, r *registry) *faulty {
	t.Helper()
	behind, err := url.Parse("http://" + r.addr)
	must(err)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	f := &faulty{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		f.asked.Add(1)
		f.sent.Add(max(req.ContentLength, 0))
		f.mu.Lock()
		hit, number := f.fault, f.count
		if hit != nil && strings.Contains(req.URL.Path, f.match) {
			f.count++
		} else {
			hit = nil
		}
		f.mu.Unlock()
		if hit == nil {
			proxy.ServeHTTP(w, req)
			return
		}
		hit(w, req, number, proxy)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *faulty) spoil(match string, with fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.match, f.fault, f.count = match, with, 0
}

func (f *faulty) addr() string { return strings.TrimPrefix(f.URL, "http://") }

// first has a fault befall the first n requests only.
func first(n int, with fault) fault {
	return func(w http.ResponseWriter, r *http.Request, number int, next http.Handler) {
		if number < n {
			with(w, r, number, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// answer is a status and nothing else.
func answer(status int, headers ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ int, _ http.Handler) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
	}
}

// changed lets a function change the answer as a whole.
func changed(change func(h http.Header, body []byte) []byte) fault {
	return func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		body := change(rec.Header(), rec.Body.Bytes())
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(body)
	}
}

// cutAt sends so many parts in a hundred of the body, then breaks off.
func cutAt(part int) fault {
	return func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()[:rec.Body.Len()*part/100])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func flipped(at int) func(http.Header, []byte) []byte {
	return func(_ http.Header, b []byte) []byte {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[len(b)*at/100] ^= 1
		}
		return b
	}
}

// reset closes the connection without an answer, so that the other side is told.
func reset(w http.ResponseWriter, _ *http.Request, _ int, _ http.Handler) {
	c, _, err := w.(http.Hijacker).Hijack()
	must(err)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// noRanges answers a range with all there is.
func noRanges(w http.ResponseWriter, r *http.Request, number int, next http.Handler) {
	if number == 0 {
		cutAt(50)(w, r, number, next)
	}
	r.Header.Del("Range")
	next.ServeHTTP(w, r)
}

// afterCut breaks off once, and answers what asks for the rest.
func afterCut(then fault) fault {
	return func(w http.ResponseWriter, r *http.Request, number int, next http.Handler) {
		if r.Header.Get("Range") == "" {
			cutAt(50)(w, r, number, next)
		}
		then(w, r, number, next)
	}
}

// drip sends a few bytes at a time.
func drip(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	for b := range slices.Chunk(rec.Body.Bytes(), 100<<10) {
		w.Write(b)
		w.(http.Flusher).Flush()
		time.Sleep(10 * time.Millisecond)
	}
}

// TestFaults pulls from a registry whose answers are spoiled. Whatever comes, no
// blob enters the store that is not the one of its name; what passes is got
// over; else it is told. Afterwards, from the sound registry, all is well.
func TestFaults(t *testing.T) {
	r := newRegistry(t, "")
	want := r.push("e2e/app:1", registryImage())
	elsewhere := newFaulty(t, r)
	for _, tt := range []struct {
		about, match string
		fault        fault
		fails        string // what the error tells; "" is none
	}{
		{"cut at the first byte", "/blobs/", first(1, cutAt(0)), ""},
		{"cut at 10 %", "/blobs/", first(1, cutAt(10)), ""},
		{"cut in the middle", "/blobs/", first(1, cutAt(50)), ""},
		{"cut before the end", "/blobs/", first(1, cutAt(99)), ""},
		{"each of three cut", "/blobs/", first(3, cutAt(40)), ""},
		{"cut again and again", "/blobs/", first(6, cutAt(60)), ""},
		{"never more than the half", "/blobs/", cutAt(0), "breaks off at"},
		{"drips", "/blobs/", drip, ""},
		{"a bit of a blob", "/blobs/", changed(flipped(50)), "digest is"},
		{"the last bit", "/blobs/", changed(flipped(99)), "digest is"},
		{"a bit once", "/blobs/", first(1, changed(flipped(30))), "digest is"},
		{"a bit of the manifest", "/manifests/", changed(flipped(50)), "arrived as"},
		{"the manifest cut", "/manifests/", first(1, cutAt(50)), "cannot reach"},
		{"longer than said", "/blobs/", changed(func(h http.Header, b []byte) []byte {
			h.Set("Content-Length", strconv.Itoa(len(b)+5))
			return append(bytes.Clone(b), "more!"...)
		}), "bytes long, the manifest says"},
		{"shorter than said", "/blobs/", changed(func(h http.Header, b []byte) []byte {
			h.Set("Content-Length", strconv.Itoa(len(b)/2))
			return b[:len(b)/2]
		}), "bytes long, the manifest says"},
		{"of no length", "/blobs/", changed(func(h http.Header, b []byte) []byte { h.Del("Content-Length"); return b }), ""},
		{"of no length, and longer", "/blobs/", changed(func(h http.Header, b []byte) []byte {
			h.Del("Content-Length")
			return append(bytes.Clone(b), "more"...)
		}), "bytes long, the manifest says"},
		{"empty", "/blobs/", changed(func(h http.Header, _ []byte) []byte { h.Del("Content-Length"); return nil }), "is 0 bytes long"},
		{"ranges are not known", "/blobs/", noRanges, ""},
		{"another range", "/blobs/", afterCut(changed(func(h http.Header, b []byte) []byte {
			h.Set("Content-Range", strings.Replace(h.Get("Content-Range"), "bytes ", "bytes 9", 1))
			return b
		})), "asked for offset"},
		{"416 for a range", "/blobs/", afterCut(answer(http.StatusRequestedRangeNotSatisfiable)), "416"},
		{"a bit of a range", "/blobs/", afterCut(changed(flipped(50))), "digest is"},
		{"401 once, of no kind", "/blobs/", first(1, answer(http.StatusUnauthorized)), "not authorised"},
		{"403", "/blobs/", answer(http.StatusForbidden), "denied"},
		{"404 of a blob", "/blobs/", answer(http.StatusNotFound), "no blob"},
		{"404 of the manifest", "/manifests/", answer(http.StatusNotFound), "no manifest 1 of e2e/app"},
		{"429 once", "/blobs/", first(1, answer(http.StatusTooManyRequests, "Retry-After", "1")), ""},
		{"500 twice", "/blobs/", first(2, answer(http.StatusInternalServerError)), ""},
		{"502 of the manifest", "/manifests/", first(1, answer(http.StatusBadGateway)), ""},
		{"503 for ever", "/manifests/", answer(http.StatusServiceUnavailable), "503"},
		{"redirected to another host", "/blobs/", func(w http.ResponseWriter, r *http.Request, _ int, _ http.Handler) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}, ""},
		{"redirected in a ring", "/blobs/", func(w http.ResponseWriter, r *http.Request, _ int, _ http.Handler) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, "redirects"},
		{"redirected to a file", "/blobs/", answer(http.StatusTemporaryRedirect, "Location", "file:///etc/passwd"), "redirect"},
		{"a page of HTML", "/manifests/", changed(func(h http.Header, _ []byte) []byte {
			h.Del("Docker-Content-Digest")
			h.Del("Content-Length")
			return []byte("<html>please log in</html>")
		}), "not right as JSON"},
		{"an endless manifest", "/manifests/", changed(func(h http.Header, _ []byte) []byte {
			h.Del("Docker-Content-Digest")
			h.Del("Content-Length")
			return bytes.Repeat([]byte(" "), 5<<20)
		}), "longer than"},
		{"reset before an answer", "/blobs/", first(2, reset), ""},
		{"the manifest reset", "/manifests/", first(1, reset), ""},
		{"reset for ever", "/manifests/", reset, "cannot reach"},
		{"408 once", "/blobs/", first(1, answer(http.StatusRequestTimeout)), ""},
		{"429 until a date", "/manifests/", first(1, func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
			answer(http.StatusTooManyRequests, "Retry-After", time.Now().UTC().Add(time.Second).Format(http.TimeFormat))(w, r, 0, next)
		}), ""},
		{"504 of the rest", "/blobs/", afterCut(first(3, answer(http.StatusGatewayTimeout))), ""},
		{"204", "/blobs/", answer(http.StatusNoContent), "204"},
		{"304", "/blobs/", answer(http.StatusNotModified), "304"},
		{"206 for all of it", "/blobs/", func(w http.ResponseWriter, r *http.Request, number int, next http.Handler) {
			if r.Header.Get("Range") == "" {
				r.Header.Set("Range", "bytes=0-")
			}
			next.ServeHTTP(w, r)
		}, ""},
		{"206 that does not say of what", "/blobs/", afterCut(changed(func(h http.Header, b []byte) []byte { h.Del("Content-Range"); return b })), ""},
		{"a part of the range", "/blobs/", afterCut(func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
			from, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
			n, err := strconv.Atoi(from)
			must(err)
			r.Header.Set("Range", "bytes="+from+"-"+strconv.Itoa(n+1<<20))
			next.ServeHTTP(w, r)
		}), ""},
		{"of no length, and cut", "/blobs/", first(2, func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), ""},
		{"of no length, and short", "/blobs/", first(1, func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
			w.(http.Flusher).Flush()
		}), ""},
		{"said to be gzip", "/blobs/", changed(func(h http.Header, b []byte) []byte { h.Set("Content-Encoding", "gzip"); return b }), ""},
		{"redirected three times", "/blobs/", func(w http.ResponseWriter, r *http.Request, _ int, next http.Handler) {
			n, _ := strconv.Atoi(r.URL.Query().Get("n"))
			if n == 3 {
				next.ServeHTTP(w, r)
				return
			}
			http.Redirect(w, r, r.URL.Path+"?n="+strconv.Itoa(n+1), http.StatusFound)
		}, ""},
		{"redirected to nowhere", "/blobs/", answer(http.StatusTemporaryRedirect), "307"},
		{"redirected to a closed port", "/blobs/", answer(http.StatusTemporaryRedirect, "Location", "http://127.0.0.1:1/x"), "cannot reach"},
		{"another digest in the head", "/manifests/", changed(func(h http.Header, b []byte) []byte {
			h.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			return b
		}), "arrived as"},
		{"another type in the head", "/manifests/", changed(func(h http.Header, b []byte) []byte { h.Set("Content-Type", "text/plain"); return b }), ""},
		{"an empty manifest", "/manifests/", changed(func(h http.Header, _ []byte) []byte {
			h.Del("Docker-Content-Digest")
			h.Set("Content-Length", "0")
			return nil
		}), "not right as JSON"},
		{"a challenge of no known kind", "/v2/", answer(http.StatusUnauthorized, "WWW-Authenticate", `Negotiate abc`), "not authorised"},
		{"a challenge to a file", "/v2/", answer(http.StatusUnauthorized, "WWW-Authenticate", `Bearer realm="file:///etc/passwd",service="x"`), "realm"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			h, f := newHost(t), newFaulty(t, r)
			f.spoil(tt.match, tt.fault)
			name := f.addr() + "/e2e/app:1"
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			mica := h.command("pull", name)
			cmd := exec.CommandContext(ctx, mica.Path, mica.Args[1:]...)
			cmd.Env, cmd.Dir = mica.Env, mica.Dir
			_, err := output(cmd)
			switch {
			case ctx.Err() != nil:
				t.Fatal("it hangs")
			case tt.fails == "" && err != nil:
				t.Error(err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("error %v, want one about %q", err, tt.fails)
			case err != nil && strings.Count(err.Error(), "\n") > 3+strings.Count(err.Error(), "pulled layer"):
				t.Errorf("more than a line and a hint: %v", err)
			}
			h.wantBlobs()
			f.spoil("", nil)
			h.mica("pull", name)
			h.wantPulled(name, want)
		})
	}
}

// TestCredentialsStay: a password is sent to the registry that it is of, and to
// no host that this one names.
func TestCredentialsStay(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	r.push("e2e/app:1", registryImage())
	var leaked atomic.Int64
	behind := newFaulty(t, r)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
		resp, err := http.Get(behind.URL + req.URL.Path)
		must(err)
		defer resp.Body.Close()
		io.Copy(w, resp.Body)
	}))
	defer other.Close()
	f := newFaulty(t, r)
	f.spoil("/v2/", func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
		user, password, _ := req.BasicAuth()
		switch {
		case user != "me" || password != "secret":
			answer(http.StatusUnauthorized, "WWW-Authenticate", `Basic realm="e2e"`)(w, req, 0, next)
		case strings.Contains(req.URL.Path, "/blobs/"):
			http.Redirect(w, req, other.URL+req.URL.Path, http.StatusTemporaryRedirect)
		default:
			req.Header.Del("Authorization")
			next.ServeHTTP(w, req)
		}
	})
	h.mica("login", "-u", "me", "-p", "secret", f.addr())
	h.mica("pull", f.addr()+"/e2e/app:1")
	h.wantBlobs()
	if leaked.Load() > 0 {
		t.Errorf("%d requests gave the password away", leaked.Load())
	}
}

// TestPushOfWhatIsThere: no bodies, and no more than three requests a layer.
func TestPushOfWhatIsThere(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	r.push("e2e/app:1", registryImage())
	f := newFaulty(t, r)
	h.mica("pull", f.addr()+"/e2e/app:1")
	f.asked.Store(0)
	f.sent.Store(0)
	h.mica("push", f.addr()+"/e2e/app:1")
	const layers, manifest = 2, 2000
	if asked, sent := f.asked.Load(), f.sent.Load(); asked > 3*layers+3 || sent > manifest {
		t.Errorf("push of what is there: %d requests, %d bytes; want at most %d and a manifest", asked, sent, 3*layers+3)
	}
}

// TestPullGoesOn: what a killed pull has got is not fetched again.
func TestPullGoesOn(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	want := r.push("e2e/app:1", registryImage())
	f := newFaulty(t, r)
	var rest atomic.Int64 // offset that is asked for after the kill
	release := make(chan struct{})
	f.spoil("/blobs/", func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		if rec.Body.Len() < 2<<20 { // another layer, the config, or the rest
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes())
			if from, ok := strings.CutPrefix(req.Header.Get("Range"), "bytes="); ok {
				from, _, _ = strings.Cut(from, "-")
				n, _ := strconv.ParseInt(from, 10, 64)
				rest.Store(max(n, rest.Load()))
			}
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
		w.Write(rec.Body.Bytes()[:2<<20])
		w.(http.Flusher).Flush()
		<-release
	})
	name := f.addr() + "/e2e/app:1"
	cmd := h.command("pull", name)
	must(cmd.Start())
	until(t, "most of the layer is there", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "store/partial/*"))
		for _, path := range files {
			if n, err := fileSize(path); err == nil && n >= 2<<20 {
				return true
			}
		}
		return false
	})
	must(cmd.Process.Kill())
	cmd.Wait()
	close(release)
	h.mica("pull", name)
	if rest.Load() < 2<<20 {
		t.Errorf("asked from offset %d on, %d bytes were there", rest.Load(), 2<<20)
	}
	h.wantPulled(name, want)
	if left, _ := filepath.Glob(filepath.Join(h.dir, "store/partial/*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func fileSize(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// TestPushGoesOn: an upload that breaks off is begun anew, as docker-registry
// drops it; a registry need not take parts.
func TestPushGoesOn(t *testing.T) {
	r := newRegistry(t, "")
	big := image{layerOf(file("etc/noise", random(1, 3<<20)), file("big", random(3, 6<<20)))}
	want := r.push("e2e/big:1", big)
	h := newHost(t)
	h.mica("pull", r.addr+"/e2e/big:1")
	for _, tt := range []struct {
		about string
		fault fault
	}{
		{"half of it kept", first(1, func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
			keepHalf(req, next)
			panic(http.ErrAbortHandler)
		})},
		{"half of it kept, each of three times", first(3, func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
			keepHalf(req, next)
			panic(http.ErrAbortHandler)
		})},
		{"502 after a half", first(1, func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
			keepHalf(req, next)
			io.Copy(io.Discard, req.Body)
			w.WriteHeader(http.StatusBadGateway)
		})},
		{"nothing kept", first(1, func(http.ResponseWriter, *http.Request, int, http.Handler) { panic(http.ErrAbortHandler) })},
		{"it takes no parts", func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
			if req.Method == http.MethodPatch {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, req)
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			far := newRegistry(t, "")
			f := newFaulty(t, far)
			f.spoil("/blobs/uploads/", onlyPatch(tt.fault))
			h.mica("push", r.addr+"/e2e/big:1", f.addr()+"/e2e/big:1")
			run(t, h.dir, "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://"+far.addr+"/e2e/big:1", "oci:back:x")
			if got := digest.FromString(run(t, h.dir, "skopeo", "inspect", "--raw", "oci:back:x")); got != want {
				t.Errorf("skopeo pulls %s, pushed %s", got, want)
			}
		})
	}
}

// keepHalf has a registry get the first half of what comes.
func keepHalf(req *http.Request, next http.Handler) {
	half := req.ContentLength / 2
	part := req.Clone(context.Background())
	part.Body, part.ContentLength = io.NopCloser(io.LimitReader(req.Body, half)), half
	from, _, _ := strings.Cut(req.Header.Get("Content-Range"), "-")
	n, err := strconv.ParseInt(from, 10, 64)
	must(err)
	part.Header.Set("Content-Range", strconv.FormatInt(n, 10)+"-"+strconv.FormatInt(n+half-1, 10))
	next.ServeHTTP(httptest.NewRecorder(), part)
}

// onlyPatch counts and spoils the requests that send a part.
func onlyPatch(with fault) fault {
	var number atomic.Int64
	return func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
		if req.Method != http.MethodPatch {
			next.ServeHTTP(w, req)
			return
		}
		with(w, req, int(number.Add(1))-1, next)
	}
}
