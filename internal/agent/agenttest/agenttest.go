// Package agenttest is the conformance kit of delivery agents: any agent runs
// it, and what the contract of agent.Agent says is checked.
package agenttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"postroad/internal/agent"
	"postroad/internal/event"
	"postroad/internal/mail"
)

// Content is a message in memory.
type Content string

// Size implements mail.Content.
func (c Content) Size() int64 { return int64(len(c)) }

// Bytes implements mail.Content.
func (c Content) Bytes() []byte { return []byte(c) }

// Open implements mail.Content.
func (c Content) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte(c))), nil
}

// Message is what deliveries of this kit carry.
const Message = Content("Received: by x\r\nSubject: test\r\n\r\nFrom a line\r\n.dot\r\n")

// Delivery returns a delivery of Message to the recipients.
func Delivery(route mail.Route, rcpts ...mail.Address) *agent.Delivery {
	d := &agent.Delivery{
		Envelope: &mail.Envelope{ID: "3F2A4B53A07F", Sender: "sender@example.org", Arrived: time.Unix(1795355156, 123456000)},
		Route:    route, Content: Message, Logger: event.NewLogger(nil, "postfix/test", 1), Started: time.Now(), Attempt: 1,
	}
	for _, r := range rcpts {
		d.Recipients = append(d.Recipients, mail.Recipient{Address: r, Original: r})
	}
	d.Envelope.Recipients = d.Recipients
	return d
}

// Run checks the contract on an agent that accepts known and refuses unknown.
func Run(t *testing.T, a agent.Agent, route mail.Route, known, unknown mail.Address) {
	t.Helper()
	t.Run("one answer per recipient", func(t *testing.T) {
		for n := range 4 {
			var rcpts []mail.Address
			for i := range n {
				rcpts = append(rcpts, []mail.Address{known, unknown}[i%2])
			}
			check(t, a.Deliver(context.Background(), Delivery(route, rcpts...)), n)
		}
	})
	t.Run("a context that is over defers or finishes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, r := range check(t, a.Deliver(ctx, Delivery(route, known)), 1) {
			if r.Outcome == mail.Bounced {
				t.Errorf("bounced: %+v", r)
			}
		}
	})
	t.Run("a probe delivers nothing", func(t *testing.T) {
		d := Delivery(route, known, unknown)
		d.Flags = agent.Verify
		for _, r := range check(t, a.Deliver(context.Background(), d), 2) {
			if r.Outcome == mail.Sent || r.Outcome == mail.Bounced {
				t.Errorf("a probe was answered %v", r.Outcome)
			}
		}
	})
	t.Run("unreadable content is a deferral", func(t *testing.T) {
		d := Delivery(route, known)
		d.Content = broken{}
		for _, r := range check(t, a.Deliver(context.Background(), d), 1) {
			if r.Outcome == mail.Bounced {
				t.Errorf("bounced: %+v", r)
			}
		}
	})
}

// check looks at the form of the answers.
func check(t *testing.T, results []mail.Result, n int) []mail.Result {
	t.Helper()
	if len(results) != n {
		t.Fatalf("%d answers for %d recipients", len(results), n)
	}
	seen := map[int]bool{}
	for _, r := range results {
		if r.Index < 0 || r.Index >= n || seen[r.Index] {
			t.Errorf("answer for recipient %d of %d", r.Index, n)
		}
		seen[r.Index] = true
		if len(r.Enhanced) < 5 {
			t.Errorf("no status code: %+v", r)
		}
		good := r.Outcome == mail.Sent || r.Outcome == mail.Deliverable
		if good != (r.Enhanced[0] == '2') {
			t.Errorf("%v with code %s", r.Outcome, r.Enhanced)
		}
	}
	return results
}

// broken is a content that cannot be read.
type broken struct{}

func (broken) Size() int64                  { return 100 }
func (broken) Bytes() []byte                { return nil }
func (broken) Open() (io.ReadCloser, error) { return nil, fmt.Errorf("disk trouble") }
