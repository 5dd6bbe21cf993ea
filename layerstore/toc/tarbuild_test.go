package toc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// The functions here write tars byte by byte, so that a test can write what
// no tar program does.

// tarOf is a tar of these parts, with an end mark.
func tarOf(parts ...[]byte) []byte {
	return append(bytes.Join(parts, nil), make([]byte, 2*blockSize)...)
}

// tarHeader is a ustar header with mode 0644, or 0755 for a directory. The
// edits come before the checksum is made.
func tarHeader(flag byte, name string, size int, edits ...func(*block)) []byte {
	var b block
	copy(b[0:100], name)
	copy(b.mode(), "0000644\x00")
	if flag == flagDir {
		copy(b.mode(), "0000755\x00")
	}
	copy(b.uid(), "0000000\x00")
	copy(b.gid(), "0000000\x00")
	copy(b.size(), fmt.Sprintf("%011o\x00", size))
	copy(b.mtime(), "00000000000\x00")
	b[156] = flag
	copy(b[257:], "ustar\x0000")
	for _, edit := range edits {
		edit(&b)
	}
	copy(b[148:156], "        ")
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", b.sum()))
	return b[:]
}

// set writes s into a header at off.
func set(off int, s string) func(*block) {
	return func(b *block) { copy(b[off:], s) }
}

// As edits of tarHeader.
var (
	v7  = set(257, "\x00\x00\x00\x00\x00\x00\x00\x00")
	gnu = set(257, "ustar  \x00")
)

func tarData(s string) []byte {
	return append([]byte(s), make([]byte, -len(s)&(blockSize-1))...)
}

func tarEntry(flag byte, name, data string, edits ...func(*block)) []byte {
	return append(tarHeader(flag, name, len(data), edits...), tarData(data)...)
}

func tarFile(name, data string, edits ...func(*block)) []byte {
	return tarEntry(flagRegular, name, data, edits...)
}

func tarDir(name string, edits ...func(*block)) []byte {
	return tarHeader(flagDir, name, 0, edits...)
}

func tarLink(flag byte, name, target string, edits ...func(*block)) []byte {
	return tarHeader(flag, name, 0, append([]func(*block){set(157, target)}, edits...)...)
}

func tarDevice(flag byte, name, major, minor string) []byte {
	return tarHeader(flag, name, 0, set(329, major), set(337, minor))
}

// tarPAX is a header of type x; keysAndValues come in pairs.
func tarPAX(keysAndValues ...string) []byte {
	return tarEntry(flagPAX, "PaxHeaders/x", paxRecords(keysAndValues...))
}

func tarGlobal(keysAndValues ...string) []byte {
	return tarEntry(flagPAXGlobal, "pax_global_header", paxRecords(keysAndValues...))
}

func paxRecords(keysAndValues ...string) string {
	var b []byte
	for ; len(keysAndValues) > 0; keysAndValues = keysAndValues[2:] {
		rest := " " + keysAndValues[0] + "=" + keysAndValues[1] + "\n"
		n := len(rest) + 1
		for len(fmt.Sprint(n))+len(rest) != n { // the length counts its own digits
			n++
		}
		b = fmt.Append(b, n, rest)
	}
	return string(b)
}

// tarLong is GNU's header for a long name (flagGNUName) or target (flagGNULink).
func tarLong(flag byte, name string) []byte {
	return tarEntry(flag, "././@LongLink", name+"\x00", gnu)
}

// scanAll collects what Scan gives.
func scanAll(layer []byte) ([]Entry, Summary, error) {
	var all []Entry
	sum, err := Scan(NewReaderSource(bytes.NewReader(layer)), func(e *Entry) error {
		all = append(all, *e)
		return nil
	})
	return all, sum, err
}

// contents is what a program reads from the file e of the layer.
func contents(layer []byte, e Entry) []byte {
	if e.Sparse == nil {
		return layer[e.Off : e.Off+e.Size]
	}
	b := make([]byte, e.Size)
	off := e.Off
	for _, x := range e.Sparse {
		off += int64(copy(b[x.Off:x.Off+x.Len], layer[off:]))
	}
	return b
}

// needTool skips the test if a program is not there; in CI that is an error.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("MICA_TEST_STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func isFormatError(err error) bool {
	fe := (*FormatError)(nil)
	return errors.As(err, &fe)
}
