package control

import (
	"context"
	"time"
)

// LimitSelection names counters of postroad_limit: those of one rule or of all, and
// of one key or of all.
type LimitSelection struct{ Rule, Key string }

// Limit is one counter of postroad_limit.
type Limit struct {
	// Rule is the name of the limit, Key who is counted.
	Rule, Key string
	Used      []LimitUse
	// State is the counter in the form of its store.
	State []byte
}

// LimitUse is what was counted in one period.
type LimitUse struct {
	Per  time.Duration
	Used int
}

// Limits calls yield for the counters that are meant.
func (c *Client) Limits(ctx context.Context, s LimitSelection, yield func(*Limit) error) error {
	_, err := c.ask(ctx, Request{Op: OpLimits, Limits: s}, func(r *reply) error {
		if r.Limit == nil {
			return nil
		}
		return yield(r.Limit)
	})
	return err
}

// ResetLimits sets the counters that are meant to zero and returns their number.
func (c *Client) ResetLimits(ctx context.Context, s LimitSelection) (int, error) {
	r, err := c.ask(ctx, Request{Op: OpLimitsReset, Limits: s}, nil)
	if err != nil {
		return 0, err
	}
	return r.Count, nil
}
