package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/toc"
	"mica/layerstore/transport"
	"mica/overlay"
)

// TestFailure: what is told of an error of each kind.
func TestFailure(t *testing.T) {
	t.Setenv("MICA_ROOT", "")
	digest := &layerstore.DigestError{What: "digest", Want: "sha256:aa", Got: "sha256:bb"}
	denied := &iofs.PathError{Op: "open", Path: "/x", Err: unix.EACCES}
	for _, tt := range []struct {
		about string
		err   error
		want  failure
	}{
		{"plain", errors.New("odd"), failure{Error: "mount: odd", Code: "failed", status: 1}},
		{"two at once", errors.Join(errors.New("odd"), errors.New("even")), failure{Error: "mount: odd; even", Code: "failed", status: 1}},
		{"about an object", &argError{"img m", errors.New("odd")}, failure{Error: "mount img m: odd", Code: "failed", Object: "img m", status: 1}},
		{"usage", &usageError{err: errors.New("odd")}, failure{Error: "mount: odd", Code: "usage", Hint: "mica mount --help", status: 2}},
		{"usage with a hint", &usageError{err: errors.New("odd"), hint: "even"}, failure{Error: "mount: odd", Code: "usage", Hint: "even", status: 2}},
		{"no image", &argError{"img", &transport.NotFoundError{Text: `tag "3" not found`, Has: []string{"1", "2"}}},
			failure{Error: `mount img: tag "3" not found (has: 1, 2)`, Code: "not-found", Object: "img", status: 3}},
		{"platform", &argError{"img", &transport.PlatformError{Want: "linux/riscv64", Has: []string{"linux/amd64", "linux/arm64/v8"}}},
			failure{Error: "mount img: no linux/riscv64 (has: linux/amd64, linux/arm64/v8)", Code: "platform", Object: "img", Hint: "--platform linux/amd64", status: 1}},
		{"several", &argError{"all.tar", &transport.AmbiguousError{Choices: []string{"all.tar:web:2", "all.tar:@1"}}},
			failure{Error: "mount all.tar: holds 2 images, name one: all.tar:web:2, all.tar:@1", Code: "ambiguous", Object: "all.tar", status: 1}},
		{"a layer is not what it should be", &argError{"img", &overlay.LayerError{Layer: 2, Err: digest}},
			failure{Error: "mount img: layer 3: digest is sha256:bb, the image says sha256:aa: damaged or altered", Code: "corrupt", Object: "img", status: 1}},
		{"a damaged blob", &argError{"img", &blob.DataError{Blob: "sha256:aa", Offset: 7, Err: errors.New("checksum")}},
			failure{Error: "mount img: blob sha256:aa: offset 7: checksum", Code: "corrupt", Object: "img", status: 1}},
		{"no tar", &argError{"img", &toc.FormatError{Offset: 512, Err: errors.New("bad number")}},
			failure{Error: "mount img: tar: offset 512: bad number", Code: "corrupt", Object: "img", status: 1}},
		{"compression", &argError{"img", &layerstore.CodecError{Compression: blob.XZ}},
			failure{Error: "mount img: compressed with xz: cannot read (can: tar, gzip, zstd)", Code: "media-type", Object: "img", Hint: (&layerstore.CodecError{}).Hint(), status: 1}},
		{"busy", &fs.BusyError{Dir: "m", Users: []fs.User{{PID: 2210, Name: "bash", How: "cwd", Path: "m/etc"}, {PID: 2231, Name: "vim", Path: "m/etc/hosts"}}},
			failure{Error: "mount m: busy: bash(2210) cwd m/etc, vim(2231) m/etc/hosts", Code: "busy", Object: "m", Hint: "end them, or mica umount --lazy m", status: 1}},
		{"not ours", &argError{"img", &layerstore.NotOursError{Root: "/var/lib/mica", Err: denied}},
			failure{Error: "mount img: /var/lib/mica belongs to root", Code: "not-ours", Object: "img", Hint: "--root DIR or MICA_ROOT for a store of your own, or sudo", status: 1}},
		{"no space", &argError{"img", &spaceError{"/nowhere/at all", unix.ENOSPC, storeFullHint}},
			failure{Error: "mount img: /nowhere/at all: no space left on device", Code: "no-space", Object: "img", Hint: storeFullHint, status: 1}},
		{"permission", &argError{"img", denied}, failure{Error: "mount img: open /x: permission denied", Code: "permission", Object: "img", status: 1}},
		{"no file", &argError{"img", fmt.Errorf("x: %w", iofs.ErrNotExist)}, failure{Error: "mount img: x: file does not exist", Code: "not-found", Object: "img", status: 3}},
		{"the reader is gone", &iofs.PathError{Op: "write", Path: "stdout", Err: unix.EPIPE}, failure{status: 141, silent: true}},
		{"told by another process", &toldError{7}, failure{status: 7, silent: true}},
	} {
		cmd := &cobra.Command{Use: "mount"}
		(&cobra.Command{Use: "mica"}).AddCommand(cmd)
		got := newFailure(t.Context(), cmd, tt.err)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(failure{})); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.about, diff)
		}
	}
}

// TestInterrupted: a signal is what is told, whatever error came of it.
func TestInterrupted(t *testing.T) {
	for s, status := range map[unix.Signal]int{unix.SIGINT: 130, unix.SIGTERM: 143, unix.SIGHUP: 129} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(signalError{s})
		got := newFailure(ctx, &cobra.Command{Use: "index"}, errors.New("half a file"))
		if got.status != status || got.Code != "interrupted" || got.Error != "index: interrupted" {
			t.Errorf("after %v: %+v, want status %d", s, got, status)
		}
	}
}

func TestReport(t *testing.T) {
	f := failure{Error: "mount a\x1b[2J: odd", Code: "failed", Object: "a", Hint: "try <b>", status: 9}
	var text, asJSON strings.Builder
	if got := f.report(&text, false); got != 9 {
		t.Errorf("report gives %d, want 9", got)
	}
	if want := "mica: mount a\\x1b[2J: odd\nhint: try <b>\n"; text.String() != want {
		t.Errorf("report prints %q, want %q", text.String(), want)
	}
	f.report(&asJSON, true)
	var back failure
	if err := json.Unmarshal([]byte(asJSON.String()), &back); err != nil {
		t.Fatalf("%v: %s", err, asJSON.String())
	}
	back.status = 9
	if back != f || strings.Count(asJSON.String(), "\n") != 1 {
		t.Errorf("report as JSON prints %s", asJSON.String())
	}
}
