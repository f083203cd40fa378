package scenario

import "strings"

// Diff compares two transcripts line by line and returns the difference in the
// usual form, "-" for what Postfix said and "+" for what the other did, with
// some lines around; it is empty when they are equal.
func Diff(want, got []string) string {
	ops := lcs(want, got)
	const around = 3
	keep := make([]bool, len(ops))
	same := true
	for i, op := range ops {
		if op[0] == ' ' {
			continue
		}
		same = false
		for j := max(0, i-around); j < min(len(ops), i+around+1); j++ {
			keep[j] = true
		}
	}
	if same {
		return ""
	}
	var b strings.Builder
	for i, op := range ops {
		if keep[i] {
			b.WriteString(op + "\n")
		} else if i > 0 && keep[i-1] {
			b.WriteString("...\n")
		}
	}
	return b.String()
}

// lcs aligns two lists by their longest common subsequence.
func lcs(a, b []string) []string {
	n, m := len(a), len(b)
	t := make([][]int, n+1)
	for i := range t {
		t[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if a[i] == b[j] {
				t[i][j] = t[i+1][j+1] + 1
			} else {
				t[i][j] = max(t[i+1][j], t[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < n || j < m {
		switch {
		case i < n && j < m && a[i] == b[j]:
			out = append(out, "  "+a[i])
			i++
			j++
		case j == m || i < n && t[i+1][j] >= t[i][j+1]:
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}
