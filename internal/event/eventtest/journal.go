// Package eventtest has what tests of every room need of the mail log.
package eventtest

import (
	"strings"
	"sync"
	"time"

	"postroad/internal/event"
)

// Journal is an event.Sink that keeps the lines that would be in the log.
type Journal struct {
	mu    sync.Mutex
	lines []string
}

// Write implements event.Sink.
func (j *Journal) Write(_ time.Time, _ string, _ int, e event.Event) {
	if u, ok := e.(event.Unlogged); ok && !u.Logged() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(e.AppendText(nil)))
}

// Lines returns the lines so far.
func (j *Journal) Lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

// Take returns the lines since the last call.
func (j *Journal) Take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// String joins the lines.
func (j *Journal) String() string { return strings.Join(j.Lines(), "\n") }
