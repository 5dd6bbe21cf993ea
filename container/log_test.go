package container

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mica/layerstore"
)

// newTestContainer makes a container in a store of its own, which nobody is in
// charge of.
func newTestContainer(t *testing.T, cfg Config) *Container {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	c, err := Open(layerstore.Open(t.TempDir())).Create(context.Background(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
	return c
}

// TestLog: what is written is read again, in its order, whatever pieces it comes
// in and however often files are begun anew.
func TestLog(t *testing.T) {
	c := newTestContainer(t, Config{})
	w, err := newLogWriter(c.path("log.json"), LogConfig{Config: map[string]string{"max-size": "4k", "max-file": "100"}})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for i := range 500 {
		fmt.Fprintf(&all, "line %d %s\n", i, strings.Repeat("x", i%70))
	}
	text := all.String() + strings.Repeat("y", 3*maxLine) + "\nno end"
	for rest := text; rest != ""; {
		n := min(len(rest), 1+len(rest)%977)
		w.write("stdout", []byte(rest[:n]))
		rest = rest[n:]
	}
	w.flush("stdout")
	w.close()
	var got strings.Builder
	err = c.Logs(context.Background(), LogQuery{Tail: -1}, func(e *LogEntry) error {
		if len(e.Log) > maxLine {
			t.Errorf("an entry of %d bytes", len(e.Log))
		}
		got.WriteString(e.Log)
		return nil
	})
	if err != nil || got.String() != text {
		t.Errorf("read %d bytes, %v; wrote %d", got.Len(), err, len(text))
	}
	files, err := filepath.Glob(c.path("log.json*"))
	if err != nil || len(files) < 8 {
		t.Errorf("%d files, want many", len(files))
	}
	n := 0
	if err := c.Logs(context.Background(), LogQuery{Tail: 3}, func(*LogEntry) error { n++; return nil }); err != nil || n != 3 {
		t.Errorf("the last 3: %d, %v", n, err)
	}
}

// TestAppendString: what is written is JSON, and means what encoding/json means.
func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "äöü€😀", "\xff\xfe broken \xe2\x82", "<html>&"} {
		var got string
		if err := json.Unmarshal(appendString(nil, []byte(s)), &got); err != nil || got != strings.ToValidUTF8(s, "\uFFFD") && got != brokenByByte(s) {
			t.Errorf("appendString(%q) is read as %q, %v", s, got, err)
		}
	}
}

// brokenByByte has each byte that is not UTF-8 replaced by itself.
func brokenByByte(s string) string {
	b, err := json.Marshal(s)
	var out string
	if err != nil || json.Unmarshal(b, &out) != nil {
		return s
	}
	return out
}

// TestSettle: what is said of a container that nobody is in charge of is compared
// with what is there.
func TestSettle(t *testing.T) {
	start, err := startOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	here := Proc{Pid: os.Getpid(), Start: start, Boot: bootID()}
	for _, tt := range []struct {
		about string
		state State
		rm    bool
		want  Status
		gone  bool
	}{
		{about: "its process is there: it runs, if unsupervised", state: State{Status: Running, Init: here}, want: Running},
		{about: "the number is another's by now", state: State{Status: Running, Init: Proc{here.Pid, here.Start - 1, here.Boot}}, want: Exited},
		{about: "of another boot", state: State{Status: Running, Init: Proc{here.Pid, here.Start, "another"}}, want: Exited},
		{about: "killed while it was started", state: State{Status: Starting}, want: Exited},
		{about: "killed between two starts", state: State{Status: Restarting, ExitCode: 3}, want: Exited},
		{about: "never started", state: State{Status: Created}, want: Created},
		{about: "ended", state: State{Status: Exited, ExitCode: 4}, want: Exited},
		{about: "to be removed at its end, which nobody saw", state: State{Status: Running, Init: Proc{1, 1, "another"}}, rm: true, gone: true},
		{about: "half removed", state: State{Status: Removing}, gone: true},
	} {
		c := newTestContainer(t, Config{Host: HostConfig{AutoRemove: tt.rm}})
		if err := c.change(func(st *State) { *st = tt.state }); err != nil {
			t.Fatal(err)
		}
		gone, err := c.Settle(context.Background())
		if err != nil || gone != tt.gone {
			t.Errorf("%s: gone %v, %v", tt.about, gone, err)
		}
		if _, err := os.Stat(c.dir); tt.gone != os.IsNotExist(err) {
			t.Errorf("%s: its directory: %v", tt.about, err)
		}
		if !gone && c.State.Status != tt.want {
			t.Errorf("%s: %s, want %s", tt.about, c.State.Status, tt.want)
		}
		if lost := tt.state.Status != Exited && c.State.Status == Exited; lost && !gone && (c.State.ExitCode != lostStatus || c.State.FinishedAt.After(time.Now())) {
			t.Errorf("%s: %+v", tt.about, c.State)
		}
	}
}
