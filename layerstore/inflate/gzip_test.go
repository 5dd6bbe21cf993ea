package inflate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
)

// header makes a member's header of the given flags and what they announce.
func header(flags byte, fields ...string) string {
	h := "\x1f\x8b\x08" + string(flags) + "\x01\x02\x03\x04\x00\xff" + strings.Join(fields, "")
	if flags&flagHeaderCRC != 0 {
		h += string(binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE([]byte(h)))))
	}
	return h
}

func TestHeader(t *testing.T) {
	member := string(gzipped([]byte("abc"), 6, false))
	body := member[10:]
	long := strings.Repeat("n", 3*inputSize)
	crc := header(flagHeaderCRC)
	for _, tt := range []struct {
		about, gz string
		want      string
		msg       string // of the *FormatError; "cut" means io.ErrUnexpectedEOF
	}{
		{about: "plain", gz: header(0) + body, want: "abc"},
		{about: "text flag", gz: header(flagText) + body, want: "abc"},
		{about: "extra", gz: header(flagExtra, "\x03\x00xyz") + body, want: "abc"},
		{about: "longest extra", gz: header(flagExtra, "\xff\xff"+long[:65535]) + body, want: "abc"},
		{about: "name", gz: header(flagName, "layer.tar\x00") + body, want: "abc"},
		{about: "name longer than the input buffer", gz: header(flagName, long+"\x00") + body, want: "abc"},
		{about: "comment", gz: header(flagComment, "\x00") + body, want: "abc"},
		{about: "checksum", gz: crc + body, want: "abc"},
		{about: "all", gz: header(flagText|flagHeaderCRC|flagExtra|flagName|flagComment, "\x01\x00x", "n\x00", "c\x00") + body, want: "abc"},
		{about: "wrong checksum", gz: crc[:10] + "\x00\x00" + body, msg: "checksum of a member's header is wrong"},
		{about: "reserved flag 5", gz: header(0x20) + body, msg: "reserved flag in a member's header"},
		{about: "reserved flag 7", gz: header(0x80) + body, msg: "reserved flag in a member's header"},
		{about: "other method", gz: "\x1f\x8b\x07" + member[3:], msg: "compression method is not deflate"},
		{about: "no gzip", gz: "BZh91AY&SY", msg: "no gzip member"},
		{about: "one byte", gz: "\x1f", msg: "cut"},
		{about: "cut in the header", gz: header(0)[:9], msg: "cut"},
		{about: "cut in extra", gz: header(flagExtra, "\x03\x00xy"), msg: "cut"},
		{about: "cut in the name", gz: header(flagName, "layer.tar"), msg: "cut"},
		{about: "cut in the checksum", gz: crc[:11], msg: "cut"},
		{about: "cut in the trailer", gz: member[:len(member)-1], want: "abc", msg: "cut"},
		{about: "wrong CRC", gz: member[:len(member)-8] + "\x00\x00\x00\x00\x03\x00\x00\x00", want: "abc", msg: "CRC of a member is wrong"},
		{about: "wrong size", gz: member[:len(member)-4] + "\x04\x00\x00\x00", want: "abc", msg: "size of a member is wrong"},
		{about: "second member with another method", gz: member + "\x1f\x8b\x07" + member[3:], want: "abc", msg: "compression method is not deflate"},
		{about: "second member cut", gz: member + member[:5], want: "abc", msg: "cut"},
	} {
		got, err := readAll(NewReader(strings.NewReader(tt.gz), Options{}), 100)
		var bad *FormatError
		ok := err == nil && tt.msg == "" || errors.As(err, &bad) && bad.Msg == tt.msg || err == io.ErrUnexpectedEOF && tt.msg == "cut"
		if string(got) != tt.want || !ok {
			t.Errorf("%s: %q, %v; want %q, %q", tt.about, got, err, tt.want, tt.msg)
		}
	}
}

// TestTrailing sees where the stream ends when something follows.
func TestTrailing(t *testing.T) {
	one := gzipped([]byte("abc"), 6, false)
	none := gzipped(nil, 6, false)
	for _, tt := range []struct {
		about   string
		members [][]byte
		after   string
	}{
		{"nothing", [][]byte{one}, ""},
		{"empty members", [][]byte{none, one, none, none}, ""},
		{"zeros", [][]byte{one, one}, strings.Repeat("\x00", 1000)},
		{"garbage", [][]byte{one}, "garbage"},
		{"one byte of a magic number", [][]byte{one}, "\x1f"},
		{"half a magic number", [][]byte{one}, "\x1f\x8c"},
	} {
		gz := slices.Concat(tt.members...)
		src := strings.NewReader(string(gz) + tt.after)
		r := NewReader(src, Options{})
		got, err := readAll(r, 100)
		want := bytes.Repeat([]byte("abc"), bytes.Count(gz, one))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", tt.about, got, err, want)
		}
		if r.InputOffset() != int64(len(gz)) || r.Trailing()+src.Len() != len(tt.after) {
			t.Errorf("%s: ends at %d with %d bytes trailing and %d not read; want %d and %d together",
				tt.about, r.InputOffset(), r.Trailing(), src.Len(), len(gz), len(tt.after))
		}
	}
}

// TestTrailingIsLeft sees that nothing is read of what follows but what came
// with the last of the input.
func TestTrailingIsLeft(t *testing.T) {
	gz := gzipped([]byte("abc"), 6, false)
	after := strings.NewReader(strings.Repeat("x", 10*inputSize))
	if _, err := readAll(NewReader(io.MultiReader(bytes.NewReader(gz), after), Options{}), 100); err != nil {
		t.Fatal(err)
	}
	if n := after.Size() - int64(after.Len()); n > inputSize {
		t.Errorf("%d bytes read of what follows the stream", n)
	}
}
