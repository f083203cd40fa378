package testkit

import (
	"context"
	"time"

	"postroad/internal/sys"
)

// Poll calls done every so often until it says true, and reports whether it
// did before ctx ended. It calls done at least once.
func Poll(ctx context.Context, every time.Duration, done func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// Pause waits for d or for the end of ctx, whichever comes first.
func Pause(ctx context.Context, d time.Duration) { _ = sys.Pause(ctx, d) }
