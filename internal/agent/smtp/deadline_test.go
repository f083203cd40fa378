package smtp

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestRequestDeadline sends content to servers that take so many bytes a second.
func TestRequestDeadline(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		deadline bool
		speed    int
		fails    bool
	}{
		{"slow, each write in time", false, 300, false},
		{"slow, under a deadline", true, 300, true},
		{"as fast as is asked for", true, 600, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			var wg sync.WaitGroup
			defer wg.Wait()
			defer ours.Close()
			// goroutine: the server; ends with the connection.
			wg.Go(func() {
				defer theirs.Close()
				for {
					if _, err := io.CopyN(io.Discard, theirs, int64(tt.speed)); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			w := &world{t: t}
			cfg := w.config()
			cfg.Settings.RequestDeadline, cfg.Settings.MinDataRate = tt.deadline, 500
			c := w.client(cfg)
			d := w.delivery("example.test", "b@example.test")
			d.Content = textContent{text: string(bytes.Repeat([]byte("some text\r\n"), 20_000))}
			x := &xfer{a: newAttempt(c, d), s: &session{c: c, conn: ours, raw: ours, feat: feat8Bit}, ctx: t.Context()}
			err := x.body()
			if tt.fails != (err != nil) || err != nil && !isTimeout(err) {
				t.Errorf("%s: %v", tt.name, err)
			}
		})
	}
}
