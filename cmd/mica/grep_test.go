package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGrepScan compares with grep(1), however what is searched is cut to pieces.
func TestGrepScan(t *testing.T) {
	texts := []string{
		"", "\n", "a", "a\n", "one\ntwo\nthree\n", "one\ntwo\nthree", "\n\n\nx\n\n", "A\na\nB\nab\n" + strings.Repeat("long ", 5000) + "ab\nend",
		"text\x00binary ab\n", "first ab\n\x00later",
	}
	for _, text := range texts {
		for _, pattern := range []string{"a", "^", "$", "^$", "ab$", "o", "x", "^t.*e$", "nothing"} {
			for _, flags := range []string{"", "-n", "-l", "-a", "-an"} {
				g := &grepper{pattern: regexp.MustCompile("(?m)" + pattern), numbers: strings.Contains(flags, "n"), names: flags == "-l", text: strings.Contains(flags, "a")}
				s := &grepScan{grepper: g}
				rng := rand.New(rand.NewPCG(1, 2))
				for b := []byte(text); len(b) > 0; {
					n := 1 + rng.IntN(len(b))
					if _, err := s.Write(b[:n]); err != nil {
						break
					}
					b = b[n:]
				}
				got := ""
				switch found := s.end(); {
				case found == nil:
				case g.names:
					got = "file\n"
				case found.binary: // is said elsewhere
				default:
					got = found.lines
				}
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				args := []string{"-e", pattern, "file"}
				if flags != "" {
					args = append([]string{flags}, args...)
				}
				if strings.Contains(text, "\x00") && pattern == "^$" {
					continue // a NUL ends a line for grep, then
				}
				if want := tool(t, dir, append([]string{"grep"}, args...)...); got != want {
					t.Errorf("grep %s %q of %.40q = %.60q, want %.60q", flags, pattern, text, got, want)
				}
			}
		}
	}
}
