package event

import (
	"testing"
	"time"
)

func TestAppendDelay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		seconds float64
		digits  int
		want    string
	}{
		{0, 2, "0"}, {0.004, 2, "0"}, {0.005, 2, "0.01"}, {0.012, 2, "0.01"}, {0.08, 2, "0.08"}, {0.111, 2, "0.11"},
		{0.996, 2, "1"}, {1, 2, "1"}, {1.05, 2, "1.1"}, {1.11, 2, "1.1"}, {9.94, 2, "9.9"}, {9.96, 2, "10"},
		{10, 2, "10"}, {11.1, 2, "11"}, {99.6, 2, "100"}, {688.4, 2, "688"}, {1110, 2, "1110"}, {-3, 2, "0"},
		{0.0111, 6, "0.011"}, {0.00111, 6, "0.0011"}, {0.000011, 6, "0.000011"}, {0.000001, 6, "0.000001"},
		{0.0996, 6, "0.1"}, {0.00996, 6, "0.01"}, {1.11, 6, "1.1"}, {11.1, 6, "11"},
		{0.4, 0, "0"}, {0.5, 0, "1"}, {1.6, 0, "2"}, {0.44, 1, "0.4"}, {1.11, 1, "1.1"},
	}
	for _, tt := range tests {
		d := time.Duration(tt.seconds * float64(time.Second)).Round(time.Microsecond)
		if got := string(AppendDelay(nil, d, tt.digits)); got != tt.want {
			t.Errorf("AppendDelay(%v, %d) = %s, want %s", tt.seconds, tt.digits, got, tt.want)
		}
	}
}
