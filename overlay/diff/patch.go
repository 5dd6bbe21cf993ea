package diff

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxText is the length in bytes from which on a file is not compared line
	// by line: that takes several times its length in memory.
	maxText = 32 << 20
	// sniffText is how many bytes tell whether a file is text, as with git.
	sniffText = 8000
	// context is how many lines a hunk shows around what it changes.
	contextLines = 3
)

// WritePatch writes what git diff writes of a change, so that patch -p1 and
// git apply can do it: changed lines of text, permissions, targets of
// symlinks. What is no text is only said to differ. Of what git cannot say
// (owners, attributes, directories, devices) it writes nothing.
func WritePatch(ctx context.Context, w io.Writer, a, b Opener, c *Change) error {
	from, to := c.From, c.To
	if from != nil && !inGit(from) {
		from = nil
	}
	if to != nil && !inGit(to) {
		to = nil
	}
	if from != nil && to != nil && c.What&Type != 0 {
		// As git does: the one goes, the other comes.
		if err := writePatch(ctx, w, a, b, c.Path, from, nil, true); err != nil {
			return err
		}
		from = nil
	}
	contents := c.What&(Content|Target) != 0 || from == nil || to == nil
	if from == nil && to == nil || !contents && c.What&Mode == 0 {
		return nil
	}
	return writePatch(ctx, w, a, b, c.Path, from, to, contents)
}

// inGit reports whether git knows files of that kind.
func inGit(f *File) bool { return f.isRegular() || f.isSymlink() }

// writePatch writes the patch of one path. Either file may be nil; contents
// says that they differ.
func writePatch(ctx context.Context, w io.Writer, a, b Opener, path string, from, to *File, contents bool) error {
	var out bytes.Buffer
	oldName, newName := quoteName("a/"+path), quoteName("b/"+path)
	fmt.Fprintf(&out, "diff --git %s %s\n", oldName, newName)
	switch {
	case from == nil:
		fmt.Fprintf(&out, "new file mode %o\n", gitMode(to))
		oldName = "/dev/null"
	case to == nil:
		fmt.Fprintf(&out, "deleted file mode %o\n", gitMode(from))
		newName = "/dev/null"
	case gitMode(from) != gitMode(to):
		fmt.Fprintf(&out, "old mode %o\nnew mode %o\n", gitMode(from), gitMode(to))
	}
	if contents {
		if err := writeContents(ctx, &out, a, b, from, to, oldName, newName); err != nil {
			return fmt.Errorf("/%s: %w", path, err)
		}
	}
	_, err := out.WriteTo(w)
	return err
}

// gitMode is a mode as patches have it. Git itself knows no permissions but
// 0644 and 0755, and takes others for the one or the other.
func gitMode(f *File) uint32 {
	if f.isSymlink() {
		return unix.S_IFLNK
	}
	return f.Mode
}

func writeContents(ctx context.Context, out *bytes.Buffer, a, b Opener, from, to *File, oldName, newName string) error {
	if from != nil && from.Size > maxText || to != nil && to.Size > maxText {
		fmt.Fprintf(out, "Binary files %s and %s differ\n", oldName, newName)
		return nil
	}
	before, err := readAll(ctx, a, from)
	if err != nil {
		return err
	}
	after, err := readAll(ctx, b, to)
	if err != nil {
		return err
	}
	switch {
	case !isText(before) || !isText(after):
		fmt.Fprintf(out, "Binary files %s and %s differ\n", oldName, newName)
	case len(before) > 0 || len(after) > 0:
		fmt.Fprintf(out, "--- %s\n+++ %s\n", endName(oldName), endName(newName))
		writeHunks(out, before, after)
	}
	return nil
}

// readAll gives the contents of a file, for a symlink its target, for nil
// none.
func readAll(ctx context.Context, s Opener, f *File) ([]byte, error) {
	switch {
	case f == nil:
		return nil, nil
	case f.isSymlink():
		return []byte(f.Target), nil
	}
	r, err := s.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.NewSectionReader(r, 0, maxText))
}

func isText(b []byte) bool { return bytes.IndexByte(b[:min(len(b), sniffText)], 0) < 0 }

// quoteName puts a name that holds bytes which would end or hide it in double
// quotes, as git does.
func quoteName(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f }) < 0 {
		return name
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.Write([]byte{'\\', c})
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// endName ends a name with a space in it in a tab, or patch(1) would take what
// follows the space for a date.
func endName(name string) string {
	if strings.Contains(name, " ") && !strings.HasPrefix(name, `"`) {
		return name + "\t"
	}
	return name
}

// writeHunks writes the changed lines, with those around them.
func writeHunks(out *bytes.Buffer, before, after []byte) {
	from, to := bytes.SplitAfter(before, []byte("\n")), bytes.SplitAfter(after, []byte("\n"))
	from, to = dropEmptyLast(from), dropEmptyLast(to)
	numbers := map[string]int{}
	all := edits(numbered(from, numbers), numbered(to, numbers))
	for len(all) > 0 {
		// Edits whose surroundings touch make one hunk.
		n := 1
		for n < len(all) && all[n].from0-all[n-1].from1 <= 2*contextLines {
			n++
		}
		writeHunk(out, from, to, all[:n])
		all = all[n:]
	}
}

// dropEmptyLast takes away what SplitAfter finds behind the last newline.
func dropEmptyLast(lines [][]byte) [][]byte {
	if n := len(lines); len(lines[n-1]) == 0 {
		return lines[:n-1]
	}
	return lines
}

// numbered gives the same number to lines that are the same.
func numbered(lines [][]byte, numbers map[string]int) []int {
	list := make([]int, len(lines))
	for i, line := range lines {
		n, ok := numbers[string(line)]
		if !ok {
			n = len(numbers)
			numbers[string(line)] = n
		}
		list[i] = n
	}
	return list
}

func writeHunk(out *bytes.Buffer, from, to [][]byte, all []edit) {
	first, last := all[0], all[len(all)-1]
	lead := min(contextLines, first.from0)
	trail := min(contextLines, len(from)-last.from1)
	fmt.Fprintf(out, "@@ -%s +%s @@\n", lineRange(first.from0-lead, last.from1+trail), lineRange(first.to0-lead, last.to1+trail))
	at := first.from0 - lead
	for _, e := range all {
		writeLines(out, ' ', from[at:e.from0])
		writeLines(out, '-', from[e.from0:e.from1])
		writeLines(out, '+', to[e.to0:e.to1])
		at = e.from1
	}
	writeLines(out, ' ', from[at:at+trail])
}

// lineRange gives lines [i, j), counted from 0, as a hunk's head has them.
func lineRange(i, j int) string {
	switch j - i {
	case 0:
		return fmt.Sprintf("%d,0", i) // the line before
	case 1:
		return fmt.Sprint(j)
	}
	return fmt.Sprintf("%d,%d", i+1, j-i)
}

func writeLines(out *bytes.Buffer, sign byte, lines [][]byte) {
	for _, line := range lines {
		out.WriteByte(sign)
		out.Write(line)
		if !bytes.HasSuffix(line, []byte("\n")) {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}
