package main

import "testing"

// TestBounded: the limit of a group counts when it is lower than what there is.
func TestBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"max\n": 100, "40\n": 40, "9223372036854771712\n": 100, "": 100} {
		if got := bounded(100, text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if memory() < leastTable {
		t.Errorf("this machine has %d bytes", memory())
	}
}
