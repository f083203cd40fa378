package testkit

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// Golden compares a text with the one in a file and shows the first line in which
// they part. With update it writes the file instead.
func Golden(t testing.TB, path, got string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: %s", path, Parted(got, string(want)))
	}
}

// Parted shows two texts around the first line in which they part.
func Parted(got, want string) string {
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	i := 0
	for i < len(g) && i < len(w) && g[i] == w[i] {
		i++
	}
	show := func(mark string, lines []string) string {
		var b strings.Builder
		for _, l := range lines[min(i, len(lines)):min(i+4, len(lines))] {
			b.WriteString("  " + mark + " " + strings.TrimSuffix(l, "\n") + "\n")
		}
		return b.String()
	}
	var before strings.Builder
	for _, l := range g[max(0, i-6):i] {
		before.WriteString("    " + l)
	}
	return "they part in line " + strconv.Itoa(i+1) + "\n" + before.String() + show("-", w) + show("+", g)
}
