package main

import (
	"strings"
	"testing"
)

func TestParseHelper(t *testing.T) {
	for _, tt := range []struct {
		about, line       string
		operands, options string
		fake              bool
		err               string
	}{
		{about: "as mount(8) does", line: "/i /m -o ro,nosuid,_netdev", operands: "/i /m", options: "ro,nosuid,_netdev"},
		{about: "flags come first", line: "-n -s -v /i /m -o rw,odd,noexec", operands: "/i /m", options: "noexec"},
		{about: "flags in one", line: "-nfv /i /m", operands: "/i /m", fake: true},
		{about: "rw is only what was not said to be ro", line: "/i /m -o rw,dev,suid", operands: "/i /m", options: "dev,suid"},
		{about: "values at their flags", line: "/i /m -oro -tfuse.mica", operands: "/i /m", options: "ro"},
		{about: "the type before the source", line: "mica#/i /m -t fuse.mica", operands: "/i /m"},
		{about: "several -o", line: "/i /m -o ro -o nodev", operands: "/i /m", options: "ro,nodev"},
		{about: "unknown options are kept for an error", line: "/i /m -o odd", operands: "/i /m", options: "odd"},
		{about: "as podman does", line: "-o lowerdir=/a:/b,upperdir=/u,workdir=/w /m", operands: "/m", options: "lowerdir=/a:/b,upperdir=/u,workdir=/w"},
		{about: "commas in names", line: `/i /m -o lowerdir=/a\,b,ro`, operands: "/i /m", options: `lowerdir=/a\,b,ro`},
		{about: "one operand", line: "/i -o ro", err: `wants an image and a directory, got ["/i"]`},
		{about: "three operands", line: "/i /m /n", err: `wants an image and a directory, got ["/i" "/m" "/n"]`},
		{about: "no value", line: "/i /m -o", err: "-o needs a value"},
		{about: "another namespace", line: "-N 4711 /i /m", err: "-N 4711: another mount namespace: run mica in there"},
		{about: "unknown flag", line: "-x /i /m", err: "unknown flag -x"},
	} {
		h, err := parseHelper(strings.Fields(tt.line))
		if err != nil || tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: parseHelper(%s): %v, want %s", tt.about, tt.line, err, tt.err)
			}
			continue
		}
		if got := strings.Join(h.operands, " "); got != tt.operands || h.options() != tt.options || h.fake != tt.fake {
			t.Errorf("%s: parseHelper(%s) = %q with %q, fake %v; want %q with %q, %v",
				tt.about, tt.line, got, h.options(), h.fake, tt.operands, tt.options, tt.fake)
		}
	}
}

func TestAsMountHelper(t *testing.T) {
	for line, want := range map[string]bool{
		"/i /m -o ro":           true,
		"img m -oro":            true,
		"mount img -o ro":       false, // a command
		"umount m -o":           false,
		"img m":                 false,
		"--log-format json -o":  false,
		"img -q -o ro":          false,
		"./mount /m -o ro,x=y":  true,
		"/i /m --log-format -o": false,
		"-o lowerdir=/a /m":     true,
		"-o":                    false,
	} {
		if _, got := asMountHelper(strings.Fields(line)); got != want {
			t.Errorf("asMountHelper(%s) = %v, want %v", line, got, want)
		}
	}
}
