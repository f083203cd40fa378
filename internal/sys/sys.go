package sys

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"
)

// Reason words an error as strerror(3) does, with a capital letter and without the
// operation and the path, which our messages have already. An error that is not of
// the system keeps its own text.
func Reason(err error) string {
	var (
		errno   syscall.Errno
		path    *os.PathError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &errno):
	case errors.As(err, &timeout) && timeout.Timeout():
		errno = syscall.ETIMEDOUT
	case errors.Is(err, os.ErrNotExist):
		errno = syscall.ENOENT
	case errors.As(err, &path):
		return path.Err.Error()
	default:
		return err.Error()
	}
	text := errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// Pause waits, and returns the error of ctx when that ends first.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
