package qmgr

import (
	"testing"
	"time"

	"postroad/internal/agent"
)

func TestStream(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	type step struct {
		at   time.Duration
		busy int
		end  bool
		last bool // nothing is left to do after this end
		want agent.Reuse
	}
	both, load := agent.Reuse{Load: true, Store: true}, agent.Reuse{Load: true}
	for name, steps := range map[string][]step{
		"single messages": {
			{at: 0, busy: 1}, {at: 10 * time.Millisecond, end: true, last: true},
			{at: 100 * time.Millisecond, busy: 1}, {at: 110 * time.Millisecond, end: true, last: true},
			{at: 200 * time.Millisecond, busy: 1},
		},
		"a burst within the first window": {{at: 0, busy: 1}, {at: 0, busy: 2}, {at: 0, busy: 3}},
		"back to back": {
			{at: 0, busy: 1}, {at: 0, busy: 2}, {at: 20 * time.Millisecond, end: true},
			{at: 20 * time.Millisecond, busy: 2, want: both}, {at: 40 * time.Millisecond, end: true, last: true},
			{at: 45 * time.Millisecond, busy: 1, want: both},
		},
		"slow": {
			{at: 0, busy: 1}, {at: time.Millisecond, end: true}, {at: 2 * time.Millisecond, busy: 1, want: both},
			{at: 5 * time.Millisecond, end: true}, {at: 5 * time.Second, busy: 1, want: load},
			{at: 6 * time.Second, end: true}, {at: 6 * time.Second, busy: 1, want: both},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s stream
			for i, st := range steps {
				if st.end {
					s.end(start.Add(st.at), st.last)
					continue
				}
				if got := s.begin(start.Add(st.at), st.busy); got != st.want {
					t.Errorf("step %d: %+v, want %+v", i, got, st.want)
				}
			}
		})
	}
}
