package container

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestParseVolume: docker's -v and --mount.
func TestParseVolume(t *testing.T) {
	for _, tt := range []struct {
		about, text, kind, source, name, target string
		rw                                      bool
		err                                     string
	}{
		{about: "a directory", text: "/a:/b", kind: "bind", source: "/a", target: "/b", rw: true},
		{about: "read-only", text: "/a:/b:ro", kind: "bind", source: "/a", target: "/b"},
		{about: "a volume", text: "vol:/b/../c", kind: "volume", name: "vol", target: "/c", rw: true},
		{about: "a volume without a name", text: "/b", kind: "volume", target: "/b", rw: true},
		{about: "the root", text: "/a:/", err: "the root"},
		{about: "not absolute", text: "/a:b", err: "not an absolute path"},
		{about: "an option that is none", text: "/a:/b:rx", err: "no such option: rx"},
		{about: "a name that is none", text: "a/b:/c", err: "neither a path nor a name"},
		{about: "too many", text: "/a:/b:ro:x", err: "want [SOURCE:]TARGET"},
	} {
		m, err := ParseVolume(tt.text)
		if tt.err != "" || err != nil {
			if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: ParseVolume(%q): %v, want %q", tt.about, tt.text, err, tt.err)
			}
			continue
		}
		if m.Type != tt.kind || m.Source != tt.source || m.Name != tt.name || m.Destination != tt.target || m.RW != tt.rw {
			t.Errorf("%s: ParseVolume(%q) = %+v", tt.about, tt.text, m)
		}
	}
	for text, want := range map[string]string{
		"type=bind,dst=/x": "a bind has a source", "type=nosuch,dst=/x": "no such type", "type=tmpfs,dst=x": "not an absolute path",
		"type=volume,dst=/x,color=red": "no such key: color", "type=bind,src=/nosuch/dir,dst=/x": "no such file",
	} {
		if _, err := ParseMount(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseMount(%q): %v, want %q", text, err, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		add, drop []string
		with      []string
		without   []string
		count     int // 0 is not looked at
	}{
		{with: []string{"CAP_CHOWN"}, without: []string{"CAP_SYS_ADMIN"}, count: len(defaultCapabilities)},
		{drop: []string{"all"}, add: []string{"net_raw"}, with: []string{"CAP_NET_RAW"}, count: 1},
		{add: []string{"ALL"}, drop: []string{"CAP_CHOWN"}, with: []string{"CAP_FOWNER"}, without: []string{"CAP_CHOWN"}},
		{add: []string{"CAP_SYS_ADMIN"}, with: []string{"CAP_SYS_ADMIN", "CAP_CHOWN"}, count: len(defaultCapabilities) + 1},
	} {
		got, err := capabilities(&HostConfig{CapAdd: tt.add, CapDrop: tt.drop})
		if err != nil || tt.count != 0 && len(got) != tt.count {
			t.Errorf("+%v -%v: %v, %v", tt.add, tt.drop, got, err)
		}
		for _, c := range tt.with {
			if !slices.Contains(got, c) {
				t.Errorf("+%v -%v lacks %s", tt.add, tt.drop, c)
			}
		}
		for _, c := range tt.without {
			if slices.Contains(got, c) {
				t.Errorf("+%v -%v has %s", tt.add, tt.drop, c)
			}
		}
	}
	if _, err := capabilities(&HostConfig{CapAdd: []string{"FLY"}}); err == nil {
		t.Error("a capability that is none is taken")
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{"9": 9, "KILL": 9, "sigterm": 15, "SIGRTMIN+3": 37, "0": 0, "NOSUCH": 0, "": 0} {
		if got, err := ParseSignal(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseSignal(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := mergeEnv([]string{"A=1", "B=2", "=x", "bare"}, []string{"B=3=4", "C=", "A"})
	if want := []string{"B=3=4", "C="}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
