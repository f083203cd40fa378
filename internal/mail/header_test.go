package mail

import "testing"

func TestFieldName(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"Subject: x": 7, "X:": 1, "A \t: b": 1, "A b: c": 0, ": x": 0, " : x": 0, "": 0, "Subject": 0, "Subject \t": 0, " folded: x": 0,
		"B\xc3\xbc: x": 0, "A\x7f: x": 0, "A\x00: x": 0, "From joe: x": 0, "http://x": 4,
	} {
		if got := FieldName([]byte(line)); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}
