package qmgr

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"postroad/internal/agent"
	"postroad/internal/bounce"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

// nowhere routes everything to an agent that says yes.
type nowhere struct{ done atomic.Int64 }

func (*nowhere) Resolve(_ context.Context, _, r mail.Address) (mail.Route, error) {
	return mail.Route{Transport: "smtp", Nexthop: mail.Nexthop(r.Domain()), Recipient: r}, nil
}

func (n *nowhere) Deliver(_ context.Context, d *agent.Delivery) []mail.Result {
	n.done.Add(1)
	return []mail.Result{{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "250 2.0.0 Ok"}}
}

func (*nowhere) Failure(context.Context, *bounce.Report) (mail.QueueID, error) { return "", nil }
func (*nowhere) Delay(context.Context, *bounce.Report) (mail.QueueID, error)   { return "", nil }
func (*nowhere) Success(context.Context, *bounce.Report) (mail.QueueID, error) { return "", nil }

// BenchmarkThrough takes 4 KiB messages through the store and the manager: one
// synced commit, one delivery, one removal each, with 20 senders.
func BenchmarkThrough(b *testing.B) {
	store, err := queue.Open(queue.Options{Dir: b.TempDir(), Reserve: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	n := &nowhere{}
	t := &Transport{Agent: n, Limits: defaultLimits(), LogName: "postfix/smtp"}
	m := New(store, event.NewLogger(nil, "postfix/qmgr", 1), &event.PIDs{}, &Generation{
		Settings: Settings{ActiveLimit: 20000, Lifetime: time.Hour, BounceLifetime: time.Hour, MinimalBackoff: time.Minute, MaximalBackoff: time.Hour},
		Router:   n, Reporter: n, Transports: map[mail.Transport]*Transport{"smtp": t}, Fallback: t,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	// goroutine: the manager; ends with ctx.
	go func() {
		defer close(ended)
		_ = m.Run(ctx, time.Second)
	}()
	time.Sleep(100 * time.Millisecond)
	body := make([]byte, 4096)
	b.SetParallelism(10)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w, err := store.Begin()
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = w.Write(body)
			env := &mail.Envelope{Sender: "a@example.org", Arrived: time.Now(), Recipients: []mail.Recipient{{Address: "b@example.net", Original: "b@example.net"}}}
			if err := w.Commit(ctx, env); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	cancel()
	<-ended
}
