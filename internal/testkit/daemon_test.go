package testkit

import "testing"

// TestFreePorts: nobody is given a port that another test has.
func TestFreePorts(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 3 {
		for _, port := range FreePorts(t, 200) {
			if seen[port] {
				t.Errorf("port %d was given twice", port)
			}
			seen[port] = true
		}
	}
}
