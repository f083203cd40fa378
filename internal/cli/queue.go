package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"postroad/internal/control"
)

// tableContext bounds the questions that a command asks a table.
func tableContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// nopCloser is a queue that needs no closing: the running server's.
type nopCloser struct{ control.Queue }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// queue returns the running server's queue or, when no server runs and the
// caller may, the stored one. warn is called, with the reason, before the queue is
// opened directly.
func (e *Env) queue(ctx context.Context, c *config, warn func(error)) (Queue, error) {
	client := control.NewClient(c.settings.QueueDirectory)
	err := client.Ping(ctx)
	if err == nil {
		return nopCloser{client}, nil
	}
	if !errors.Is(err, control.ErrUnavailable) || e.Host.OpenQueue == nil || !e.mayOpen(c) {
		return nil, err
	}
	if warn != nil {
		warn(err)
	}
	return e.Host.OpenQueue(ctx, c.Config)
}

// mayOpen tells whether the caller may open the stored queue: root may, and so
// may an ordinary user whose own queue it is.
func (e *Env) mayOpen(c *config) bool {
	return e.EUID == 0 || ownsDir(c.settings.QueueDirectory, e.EUID)
}

var _ io.Closer = nopCloser{}
