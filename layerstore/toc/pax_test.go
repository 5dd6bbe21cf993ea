package toc

import (
	"strings"
	"testing"
)

func TestNextRecord(t *testing.T) {
	for _, tt := range []struct {
		about, data      string
		key, value, rest string
	}{
		{"plain", "6 k=v\n", "k", "v", ""},
		{"one more", "6 k=v\n6 l=w\n", "k", "v", "6 l=w\n"},
		{"empty value", "5 k=\n", "k", "", ""},
		{"'=' in the value", "8 k=a=b\n", "k", "a=b", ""},
		{"newline and NUL in the value", "9 k=\n\x00\xff\n\n", "k", "\n\x00\xff\n", ""},
		{"space in the key", "8 a b=c\n", "a b", "c", ""},
		{"leading zero of the length", "07 k=v\n", "k", "v", ""},
	} {
		key, value, rest, err := nextRecord([]byte(tt.data))
		if err != nil || string(key) != tt.key || string(value) != tt.value || string(rest) != tt.rest {
			t.Errorf("%s: nextRecord(%q) = %q, %q, %q, %v; want %q, %q, %q", tt.about, tt.data, key, value, rest, err, tt.key, tt.value, tt.rest)
		}
	}
}

func TestPAXRefuses(t *testing.T) {
	for _, tt := range []struct{ about, data string }{
		{"no length", "k=v\n"},
		{"no space", "6"},
		{"only a length", "6 "},
		{"length too small", "2 k=v\n"},
		{"length zero", "0 k=v\n"},
		{"length of the number alone", "1 k=v\n"},
		{"length negative", "-6 k=v\n"},
		{"length too large", "7 k=v\n"},
		{"length beyond all bounds", "99999999999999999999 k=v\n"},
		{"length off by one", "5 k=v\n"},
		{"no newline", "6 k=vv"},
		{"no equals sign", "6 kvv\n"},
		{"no key", "5 =v\n"},
		{"NUL in the key", "7 k\x00=v\n"},
		{"NULs behind the records", "6 k=v\n\x00\x00"},
		{"endless length", strings.Repeat("0", 100)},
	} {
		for _, flag := range []byte{flagPAX, flagPAXGlobal} {
			_, _, err := scanAll(tarOf(tarEntry(flag, "", tt.data), tarZero))
			if !isFormatError(err) || !strings.Contains(err.Error(), "PAX header: broken record") {
				t.Errorf("%s: %q in type %c: error %v", tt.about, tt.data, flag, err)
			}
		}
	}
}
