package registry

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A keeper takes one upload at a time, as the distribution specification has it,
// and keeps what it has got of a part that breaks off.
type keeper struct {
	cuts     []int64 // after how many bytes each part breaks off
	location string  // where uploads are to be put; "" is here
	got      bytes.Buffer
	sent     int64 // bytes that have come
	uploads  int
	done     digest.Digest
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := "/v2/a/blobs/uploads/" + fmt.Sprint(k.uploads)
	switch r.Method {
	case http.MethodPost:
		k.uploads++
		k.got.Reset()
		at = "/v2/a/blobs/uploads/" + fmt.Sprint(k.uploads)
		if k.location != "" {
			at = k.location
		}
		w.Header().Set("Location", at)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodGet:
		w.Header().Set("Location", at)
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(k.got.Len()-1, 0)))
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPatch:
		if !strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprint(k.got.Len())+"-") {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		body := io.Reader(r.Body)
		if len(k.cuts) > 0 {
			body = io.LimitReader(r.Body, k.cuts[0])
		}
		n, _ := io.Copy(&k.got, body)
		k.sent += n
		if len(k.cuts) > 0 {
			k.cuts = k.cuts[1:]
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Location", at)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPut:
		n, _ := io.Copy(&k.got, r.Body)
		k.sent += n
		k.done = digest.FromBytes(k.got.Bytes())
		w.WriteHeader(http.StatusCreated)
	}
}

// TestPutBlob: an upload goes on from where the registry has got to, and to
// nowhere that it should not.
func TestPutBlob(t *testing.T) {
	emptyHome(t)
	blob := make([]byte, 6<<20)
	rand.New(rand.NewSource(1)).Read(blob)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	for _, tt := range []struct {
		about, location string
		size            int64 // 0 is all
		cuts            []int64
		fails           string
	}{
		{about: "whole"},
		{about: "in one request", size: resumable - 1},
		{about: "empty", size: -1},
		{about: "cut in the middle", cuts: []int64{3 << 20}},
		{about: "cut before the first byte", cuts: []int64{0}},
		{about: "cut again and again", cuts: []int64{1 << 20, 1, 1 << 20, 7, 1 << 20, 2, 1 << 20, 3}},
		{about: "cut behind the last byte", cuts: []int64{6 << 20}},
		{about: "to a file", location: "file:///etc/passwd", fails: "a redirect by file"},
		{about: "to nowhere", location: "://", fails: "upload of "},
	} {
		k := &keeper{cuts: tt.cuts, location: tt.location}
		server := httptest.NewServer(k)
		named, err := reference.ParseNormalizedNamed(strings.TrimPrefix(server.URL, "http://") + "/a")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Dial(t.Context(), named, Options{})
		if err != nil {
			t.Fatal(err)
		}
		d, b := desc, blob
		if tt.size != 0 {
			b = blob[:max(tt.size, 0)]
			d = ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
		}
		err = r.PutBlob(t.Context(), d, "", func() (io.ReadCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(b), io.NopCloser(nil)}, nil
		})
		server.Close()
		switch {
		case tt.fails != "":
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: error %v, want one about %q", tt.about, err, tt.fails)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.about, err)
		case k.done != d.Digest || k.uploads != 1 || k.sent != d.Size:
			t.Errorf("%s: %d uploads, %d bytes sent, got %s; want 1, %d, %s", tt.about, k.uploads, k.sent, k.done, d.Size, d.Digest)
		}
	}
}

// TestMayFollow: where a registry may send its clients.
func TestMayFollow(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		fine     bool
	}{
		{"https://r.example/v2/", "https://cdn.example/x", true},
		{"https://r.example/v2/", "http://cdn.example/x", false},
		{"http://r.example/v2/", "http://cdn.example/x", true},
		{"https://r.example/v2/", "https://localhost/x", false},
		{"https://r.example/v2/", "https://127.0.0.1:5000/x", false},
		{"https://r.example/v2/", "https://[::1]/x", false},
		{"https://r.example/v2/", "https://[::ffff:127.0.0.1]/x", false},
		{"https://r.example/v2/", "https://0.0.0.0/x", false},
		{"http://r.example/v2/", "http://169.254.169.254/latest/meta-data", false},
		{"http://r.example/v2/", "http://[fe80::1]/x", false},
		{"https://r.example/v2/", "file:///etc/passwd", false},
		{"https://r.example/v2/", "gopher://cdn.example/", false},
		{"http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/x", true},
	} {
		var via, to http.Request
		via.URL, to.URL = mustParse(t, tt.from), mustParse(t, tt.to)
		to.Header = http.Header{"Authorization": {"secret"}}
		err := redirect(&to, []*http.Request{&via})
		if (err == nil) != tt.fine {
			t.Errorf("%s to %s: %v, want fine %v", tt.from, tt.to, err, tt.fine)
		}
		if to.Header.Get("Authorization") != "" && via.URL.Host != to.URL.Host {
			t.Errorf("%s to %s: with the password", tt.from, tt.to)
		}
	}
}

// TestDialerStaysOut: a name that leads to this machine is no way in, unless it
// is the registry's own, or a proxy's.
func TestDialerStaysOut(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	byName := "localhost" + addr[strings.LastIndexByte(addr, ':'):]
	proxied := &dialer{host: "r.example"}
	proxied.proxies.Store("localhost", true)
	for _, tt := range []struct {
		about string
		d     *dialer
		fine  bool
	}{
		{"another host", &dialer{host: "r.example"}, false},
		{"the registry itself", &dialer{host: "localhost:5000"}, true},
		{"of a registry that is here", &dialer{host: "127.0.0.1:5000"}, true},
		{"a proxy", proxied, true},
	} {
		c, err := tt.d.dial(t.Context(), "tcp", byName)
		if (err == nil) != tt.fine {
			t.Errorf("%s: %v, want fine %v", tt.about, err, tt.fine)
		}
		if err == nil {
			c.Close()
		}
	}
}
