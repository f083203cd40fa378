package main

import (
	"fmt"
	"testing"

	"postroad/internal/queue"
)

func TestQueueGauges(t *testing.T) {
	for _, tt := range []struct {
		tally  queue.Tally
		active int
		want   string
	}{
		{queue.Tally{}, 0, "map[active:0 deferred:0 hold:0 incoming:0]"},
		{queue.Tally{Messages: 10, Held: 2, Fresh: 3}, 1, "map[active:1 deferred:5 hold:2 incoming:2]"},
		// Counted at different moments.
		{queue.Tally{Messages: 1, Fresh: 1}, 5, "map[active:5 deferred:0 hold:0 incoming:0]"},
	} {
		if got := fmt.Sprint(split(tt.tally, tt.active)); got != tt.want {
			t.Errorf("%+v, %d: %s, want %s", tt.tally, tt.active, got, tt.want)
		}
	}
}
