package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestFullStore: pull, load and save say that there is no room before they write
// a byte, where that can be known; where it ends in the middle nothing is left
// that prune would not take, and all is well when there is room again.
func TestFullStore(t *testing.T) {
	needRoot(t)
	r := newRegistry(t, "")
	want := r.push("e2e/app:1", registryImage())
	f := newFaulty(t, r)
	v := newVolume(t, "tmpfs")
	t.Cleanup(func() { run(t, v.h.dir, "umount", v.dir) })
	other := newHost(t)
	other.mica("pull", r.addr+"/e2e/app:1")
	archive := filepath.Join(other.dir, "app.tar")
	other.mica("save", "-o", archive, r.addr+"/e2e/app:1")
	name := f.addr() + "/e2e/app:1"
	here := func(args ...string) *exec.Cmd {
		cmd := v.h.command(args...)
		cmd.Env = append(cmd.Env, "MICA_ROOT="+filepath.Join(v.dir, "store"))
		return cmd
	}
	full := func(about string, cmd *exec.Cmd, known bool) {
		t.Helper()
		_, err := output(cmd)
		if err == nil || !strings.Contains(err.Error(), "no space left on device") || strings.Contains(err.Error(), "needs ") != known {
			t.Errorf("%s: error %v, want one about no space, known before: %v", about, err, known)
		}
		left, _ := filepath.Glob(filepath.Join(v.dir, "store/images/blobs/sha256/*"))
		more, _ := filepath.Glob(filepath.Join(v.dir, "*.tar*"))
		if left = append(left, more...); known && len(left) > 0 {
			t.Errorf("%s: left %v", about, left)
		}
	}
	const mega = 256 // blocks
	if _, err := output(here("images")); err != nil {
		t.Fatal(err)
	}
	must(v.leave(3 * mega))
	blobs := 0
	f.spoil("/blobs/", func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
		blobs++
		next.ServeHTTP(w, req)
	})
	full("pull", here("pull", name), true)
	if blobs > 0 {
		t.Errorf("pull asked for %d blobs, though there is no room", blobs)
	}
	full("load", here("load", "-i", archive), true)
	full("save", other.command("save", "-o", filepath.Join(v.dir, "app.tar"), r.addr+"/e2e/app:1"), true)
	pipe := here("load")
	in, err := os.Open(archive)
	must(err)
	defer in.Close()
	pipe.Stdin = in
	full("load from a pipe", pipe, false)

	// Now others fill it in the middle.
	must(os.Remove(v.ballast))
	f.spoil("/blobs/", first(1, func(w http.ResponseWriter, req *http.Request, _ int, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		must(v.leave(100))
		w.Write(rec.Body.Bytes())
	}))
	if _, err := output(here("pull", name)); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("pull, filled in the middle: error %v", err)
	}
	must(os.Remove(v.ballast))
	if _, err := output(here("pull", name)); err != nil {
		t.Fatal(err)
	}
	if out, err := output(here("verify", "--pull=never", name)); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if raw, err := output(here("inspect", "--raw", name)); err != nil || digest.FromString(raw) != want {
		t.Errorf("%s is not what was pushed: %v", name, err)
	}
}
