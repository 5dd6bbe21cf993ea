package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	start, err := processStart(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	write := func(minor, pid int, start uint64) {
		t.Helper()
		text := fmt.Sprintf(`{"dir":"/m","source":"debian:12","pid":%d,"start":%d,"since":"2026-01-02T03:04:05Z"}`, pid, start)
		if err := os.WriteFile(recordPath(dir, minor), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(1, os.Getpid(), start)
	write(2, os.Getpid(), start+1) // the PID was reused
	write(3, 1<<30, 1)             // no such process
	if err := os.WriteFile(recordPath(dir, 4), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}

	r := findRecord(1, "debian:12", "", "/nonexistent", dir)
	if r == nil || r.PID != os.Getpid() || !r.alive() || !r.Since.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("record of a live server: %+v", r)
	}
	if r := findRecord(2, "debian:12", dir); r == nil || r.alive() {
		t.Errorf("record of a process whose PID was reused: %+v, want one that is not alive", r)
	}
	if r := findRecord(1, "alpine:3", dir); r != nil {
		t.Errorf("record of a mount of another image: %+v, want none", r)
	}
	if r := findRecord(4, "debian:12", dir); r != nil {
		t.Errorf("half a record: %+v, want none", r)
	}
	removeStale(dir)
	left, _ := filepath.Glob(dir + "/*")
	if len(left) != 1 || left[0] != recordPath(dir, 1) {
		t.Errorf("after removeStale: %v, want only 1.json", left)
	}
}
