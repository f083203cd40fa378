package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

const (
	remoteRcpt = "someone@remote.test"
	localRcpt  = "alice@example.test"
)

// load is a number of clients that send letters without pause.
type load struct {
	box     *box.Box
	ledger  *testkit.Ledger
	stop    context.CancelFunc
	done    sync.WaitGroup
	refused atomic.Int64 // replies other than the wanted one
}

// startLoad lets n clients and one sendmail loop begin.
func startLoad(ctx context.Context, b *box.Box, l *testkit.Ledger, n int, seed uint64) *load {
	ctx, cancel := context.WithCancel(ctx)
	ld := &load{box: b, ledger: l, stop: cancel}
	for i := range n {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		ld.done.Add(1)
		// goroutine: ends when Stop cancels the context.
		go func() {
			defer ld.done.Done()
			for ctx.Err() == nil {
				if err := ld.session(ctx, rnd); err != nil {
					testkit.Pause(ctx, 20*time.Millisecond)
				}
			}
		}()
	}
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	ld.done.Add(1)
	// goroutine: ends when Stop cancels the context.
	go func() {
		defer ld.done.Done()
		for ctx.Err() == nil {
			ld.submit(ctx, rnd)
			testkit.Pause(ctx, 100*time.Millisecond)
		}
	}()
	return ld
}

// Stop ends the clients and waits for them.
func (ld *load) Stop() {
	ld.stop()
	ld.done.Wait()
}

// session is one connection with a few letters.
func (ld *load) session(ctx context.Context, rnd *rand.Rand) error {
	conn, err := ld.box.Dial(ctx, "198.51.100.9", box.ServerIP+":25")
	if err != nil {
		return err
	}
	p := testkit.NewPlayer(conn, 20*time.Second)
	defer func() { _ = p.Close() }() // the session's end is not the test's matter
	if _, err := p.Read(); err != nil {
		return err
	}
	if _, err := p.Expect("EHLO client.test", "250"); err != nil {
		return err
	}
	for range 1 + rnd.IntN(5) {
		if ctx.Err() != nil {
			return nil
		}
		rcpts := [][]string{{remoteRcpt}, {remoteRcpt}, {remoteRcpt}, {localRcpt}, {remoteRcpt, localRcpt}}[rnd.IntN(5)]
		size := 100 + rnd.IntN(20_000)
		if rnd.IntN(20) == 0 {
			size = 100_000 + rnd.IntN(100_000)
		}
		letter := testkit.NewLetter(ld.ledger.NewID(), size, rnd)
		if err := Send(p, "sender@client.test", rcpts, letter.Text); err != nil {
			ld.refused.Add(1)
			return err
		}
		ld.ledger.Ack(letter.ID, rcpts...)
	}
	return nil
}

// Send sends one message over an open session; nil means that the whole final
// 250 was read.
func Send(p *testkit.Player, from string, rcpts []string, text string) error {
	if _, err := p.Expect("MAIL FROM:<"+from+">", "250"); err != nil {
		return err
	}
	for _, r := range rcpts {
		if _, err := p.Expect("RCPT TO:<"+r+">", "250"); err != nil {
			return err
		}
	}
	if _, err := p.Expect("DATA", "354"); err != nil {
		return err
	}
	if err := p.SendData(text); err != nil {
		return err
	}
	r, err := p.Read()
	if err != nil {
		return err
	}
	if r.Code() != "250" {
		return fmt.Errorf("end of data: %s", r)
	}
	return nil
}

// submit hands one letter to sendmail(1); an exit status of 0 is its 250.
func (ld *load) submit(ctx context.Context, rnd *rand.Rand) {
	letter := testkit.NewLetter(ld.ledger.NewID(), 100+rnd.IntN(5000), rnd)
	// A campaign that ends here must not cut the submission in two.
	run, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	out, err := ld.box.Exec(run, box.Command{
		Line:  "sendmail -f sender@client.test " + localRcpt,
		User:  "bob",
		Stdin: strings.NewReader(strings.ReplaceAll(letter.Text, "\r\n", "\n")),
	})
	if err == nil && out.Code == 0 {
		ld.ledger.Ack(letter.ID, localRcpt)
	}
}

// book writes what arrives at a sink into the ledger.
func book(l *testkit.Ledger, s *testkit.Sink) {
	s.OnMessage(func(m testkit.SinkMessage) {
		id, fault, ok := testkit.ReadLetter(m.Data)
		if !ok {
			return
		}
		for _, r := range m.Rcpts {
			addr, _, _ := strings.Cut(strings.TrimPrefix(r, "TO:<"), ">")
			l.Arrived(id, addr, fault)
		}
	})
}

// bookMaildir writes what lies in alice's Maildir into the ledger.
func bookMaildir(l *testkit.Ledger) error {
	files, err := filepath.Glob("/home/alice/Maildir/new/*")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if id, fault, ok := testkit.ReadLetter(string(text)); ok {
			l.Arrived(id, localRcpt, fault)
		}
	}
	return nil
}

// drain waits until the queue is empty, asking for delivery now and then.
func drain(ctx context.Context, b *box.Box) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var last string
	n := 0
	ok := testkit.Poll(ctx, 100*time.Millisecond, func() bool {
		if n++; n%20 == 0 {
			if _, err := b.Exec(ctx, box.Command{Line: "postqueue -f"}); err != nil {
				last = err.Error()
				return false
			}
		}
		out, err := b.Exec(ctx, box.Command{Line: "postqueue -j"})
		if err != nil || out.Code != 0 {
			last = fmt.Sprint(err, out.Stderr)
			return false
		}
		last = out.Stdout
		return strings.TrimSpace(out.Stdout) == ""
	})
	if !ok {
		if len(last) > 2000 {
			last = last[:2000]
		}
		return fmt.Errorf("the queue does not drain: %s", last)
	}
	return nil
}
