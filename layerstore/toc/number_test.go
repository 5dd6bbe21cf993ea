package toc

import (
	"math"
	"testing"
)

func TestParseNumber(t *testing.T) {
	for _, tt := range []struct {
		about, field string
		want         int64
		ok           bool
	}{
		{"octal with a NUL", "0000644\x00", 0o644, true},
		{"octal with a space and a NUL", "000644 \x00", 0o644, true},
		{"no room for a terminator", "77777777", 0o77777777, true},
		{"leading spaces", "   644 \x00", 0o644, true},
		{"leading NULs", "\x00\x00644\x00\x00\x00", 0o644, true},
		{"empty", "\x00\x00\x00\x00\x00\x00\x00\x00", 0, true},
		{"spaces only", "        ", 0, true},
		{"what follows a NUL does not count", "644\x00zzzz", 0o644, true},
		{"what follows a space does", "644 zzzz", 0, false},
		{"not octal", "00000908", 0, false},
		{"minus", "-0000644", 0, false},
		{"base-256", "\x80\x00\x00\x00\x01\x02\x03\x04", 0x01020304, true},
		{"base-256, negative", "\xff\xff\xff\xff\xff\xff\xff\xfe", -2, true},
		{"base-256, largest", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", math.MaxInt64, true},
		{"base-256, smallest", "\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\x00\x00", math.MinInt64, true},
		{"base-256, too large", "\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00", 0, false},
		{"base-256, too small", "\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 0, false},
	} {
		if got, ok := parseNumber([]byte(tt.field)); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: parseNumber(%q) = %d, %v; want %d, %v", tt.about, tt.field, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseDecimal(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"-0", 0, true},
		{"+12", 12, true},
		{"007", 7, true},
		{"9223372036854775807", math.MaxInt64, true},
		{"9223372036854775808", 0, false},
		{"-9223372036854775808", math.MinInt64, true},
		{"-9223372036854775809", 0, false},
		{"99999999999999999999999", 0, false},
		{"", 0, false},
		{"-", 0, false},
		{"1 ", 0, false},
		{"0x10", 0, false},
		{"1_000", 0, false},
	} {
		if got, ok := parseDecimal([]byte(tt.text)); ok != tt.ok || ok && got != tt.want {
			t.Errorf("parseDecimal(%q) = %d, %v; want %d, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Time
		ok   bool
	}{
		{"1350244992", Time{1350244992, 0}, true},
		{"1350244992.02396", Time{1350244992, 23960000}, true},
		{"1.5", Time{1, 5e8}, true},
		{"1.", Time{1, 0}, true},
		{"1.000000001", Time{1, 1}, true},
		{"1.9999999999999", Time{1, 999999999}, true}, // cut, not rounded
		{"-0.5", Time{-1, 5e8}, true},
		{"-1.5", Time{-2, 5e8}, true},
		{"-1", Time{-1, 0}, true},
		{"-1.0", Time{-1, 0}, true},
		{"-9223372036854775808", Time{math.MinInt64, 0}, true},
		{"-9223372036854775808.5", Time{}, false},
		{"", Time{}, false},
		{".5", Time{}, false},
		{"1.5e3", Time{}, false},
		{"1.-5", Time{}, false},
		{"1.5.5", Time{}, false},
	} {
		if got, ok := parseTime([]byte(tt.text)); ok != tt.ok || ok && got != tt.want {
			t.Errorf("parseTime(%q) = %+v, %v; want %+v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}
