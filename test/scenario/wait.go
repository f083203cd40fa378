package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// waitTimeout limits one "wait".
const waitTimeout = 30 * time.Second

// every is how often a condition is looked at.
const every = 40 * time.Millisecond

// wait does a step that waits.
func (p *stage) wait(ctx context.Context, rest string) error {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	words := strings.Fields(rest)
	switch {
	case rest == "settled":
		return p.settle(ctx)
	case rest == "empty":
		return p.until(ctx, "the queue is empty", func() (bool, error) {
			q, err := p.queue(ctx)
			return len(q) == 0, err
		})
	case len(words) >= 3 && words[0] == "log":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		return p.waitLog(ctx, n, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(rest, "log")), words[1])))
	case len(words) == 3 && words[0] == "sink":
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		s, ok := p.sinks[words[1]]
		if !ok {
			return fmt.Errorf("no such sink")
		}
		return p.until(ctx, "the sink has its mail", func() (bool, error) { return len(s.Messages()) >= n, nil })
	}
	return fmt.Errorf("cannot wait for %q", rest)
}

// until polls a condition.
func (p *stage) until(ctx context.Context, what string, done func() (bool, error)) error {
	var last error
	ok := testkit.Poll(ctx, every, func() bool {
		var yes bool
		yes, last = done()
		return yes && last == nil
	})
	if !ok {
		return fmt.Errorf("waited in vain until %s (%v)", what, last)
	}
	return nil
}

// count is the number of log lines that match.
func (p *stage) count(pattern string) (int, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return 0, err
	}
	lines, err := p.Log()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, l := range lines {
		if re.MatchString(l) {
			n++
		}
	}
	return n, nil
}

// waitLog waits until n lines of the log match.
func (p *stage) waitLog(ctx context.Context, n int, pattern string) error {
	return p.until(ctx, fmt.Sprintf("the log has %d lines like %q", n, pattern), func() (bool, error) {
		got, err := p.count(pattern)
		return got >= n, err
	})
}

// queued is one line of postqueue -j.
type queued struct {
	Queue string `json:"queue_name"`
	ID    string `json:"queue_id"`
}

// queue asks the server for its queue.
func (p *stage) queue(ctx context.Context) ([]queued, error) {
	out, err := p.Exec(ctx, box.Command{Line: "postqueue -j"})
	if err != nil {
		return nil, err
	}
	if out.Code != 0 {
		return nil, fmt.Errorf("postqueue -j: exit status %d: %s", out.Code, out.Stderr)
	}
	var q []queued
	dec := json.NewDecoder(strings.NewReader(out.Stdout))
	for dec.More() {
		var x queued
		if err := dec.Decode(&x); err != nil {
			return nil, fmt.Errorf("postqueue -j: %w: %s", err, out.Stdout)
		}
		q = append(q, x)
	}
	return q, nil
}

// settle waits until nothing is on its way: each message waits for another
// time or is gone, and the log has stopped growing.
func (p *stage) settle(ctx context.Context) error {
	last, quiet := -1, 0
	return p.until(ctx, "the queue has settled", func() (bool, error) {
		q, err := p.queue(ctx)
		if err != nil {
			return false, err
		}
		log, err := p.Log()
		if err != nil {
			return false, err
		}
		busy := len(log) != last
		last = len(log)
		for _, x := range q {
			busy = busy || x.Queue != "deferred" && x.Queue != "hold"
		}
		if busy {
			quiet = 0
		} else {
			quiet++
		}
		return quiet >= 3, nil
	})
}
