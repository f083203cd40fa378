package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postroad/internal/mail"
)

// ledger is what a client knows: messages that were acknowledged and not yet
// given up by us.
type ledger struct {
	mu    sync.Mutex
	acked map[mail.QueueID]string
	ended map[mail.QueueID]bool
}

func newLedger() *ledger {
	return &ledger{acked: map[mail.QueueID]string{}, ended: map[mail.QueueID]bool{}}
}

// snapshot copies what must be there and what may be gone.
func (l *ledger) snapshot() (acked map[mail.QueueID]string, ended map[mail.QueueID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked, ended = map[mail.QueueID]string{}, map[mail.QueueID]bool{}
	for id, text := range l.acked {
		acked[id] = text
	}
	for id := range l.ended {
		ended[id] = true
	}
	return acked, ended
}

// live drives one message through a random part of its life.
func (l *ledger) live(s *Store, r *rand.Rand, n int) {
	text := fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", n, strings.Repeat("x", r.IntN(200)))
	if r.IntN(4) == 0 {
		text += strings.Repeat("large\r\n", 10000)
	}
	w, err := s.Begin()
	if err != nil {
		return
	}
	env := &mail.Envelope{Sender: "a@x", Arrived: time.Now().Truncate(time.Microsecond),
		Recipients: []mail.Recipient{{Address: "b@y"}, {Address: "c@z"}}}
	_, _ = w.Write([]byte(text))
	if err := w.Commit(context.Background(), env); err != nil {
		return
	}
	l.mu.Lock()
	l.acked[env.ID] = text
	l.mu.Unlock()
	_, content, err := s.Message(env.ID)
	if err != nil {
		return
	}
	switch r.IntN(4) {
	case 0: // both delivered
		l.end(env.ID)
		c := s.Change()
		c.Finished(env, content)
		_ = c.Commit()
	case 1: // one delivered, one deferred, delivered later
		c := s.Change()
		job := &Job{ID: env.ID, No: 1, Dest: NewDest("smtp", "z"), Due: time.Now(), Waiting: []Waiting{{Text: "t", Recipients: []int32{1}}}}
		c.Done(env.ID, []int32{0})
		c.Put(job)
		c.Routed(env)
		c.Waited(env)
		_ = c.Commit()
		if r.IntN(2) == 0 {
			return
		}
		l.end(env.ID)
		c = s.Change()
		if c.Remove(env, content) == nil {
			_ = c.Commit()
		}
	case 2: // on hold
		c := s.Change()
		c.Hold(env.ID, nil)
		_ = c.Commit()
		_ = s.Sync()
	}
}

// end says, before the store hears of it, that a message may disappear.
func (l *ledger) end(id mail.QueueID) {
	l.mu.Lock()
	l.ended[id] = true
	l.mu.Unlock()
}

// verify opens a store after a crash and checks the promise and STATES.md.
func verify(t *testing.T, fs vfs.FS, acked map[mail.QueueID]string, ended map[mail.QueueID]bool) {
	t.Helper()
	s, err := Open(Options{Dir: "spool", FS: fs, Reserve: 4096, MemTable: 1 << 20})
	if err != nil {
		t.Fatalf("open after crash: %v", err)
	}
	defer func() { _ = s.Close() }()
	for id, text := range acked {
		_, content, err := s.Message(id)
		if errors.Is(err, ErrNotFound) {
			if !ended[id] {
				t.Errorf("lost %s", id)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if b, err := ReadContent(content); err != nil || string(b) != text {
			t.Errorf("%s: content of %d bytes, want %d: %v", id, len(b), len(text), err)
		}
		legal(t, s, id)
	}
}

// legal checks that a message is in a row of STATES.md: every recipient is done,
// in exactly one job, or found through the arrival mark.
func legal(t *testing.T, s *Store, id mail.QueueID) {
	t.Helper()
	sum, err := s.Summary(id)
	if err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	times := make([]int, len(sum.Envelope.Recipients))
	for n := range sum.Done {
		times[n]++
	}
	for _, j := range sum.Jobs {
		for _, n := range j.Recipients() {
			times[n]++
		}
	}
	for n, k := range times {
		if k > 1 || (k == 0 && !sum.Incoming) {
			t.Errorf("%s: recipient %d is found %d times, incoming %v", id, n, k, sum.Incoming)
		}
	}
}

// TestPowerLoss cuts the power at random moments under eight writers. Of what was
// not synced each block survives with a given probability.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for _, keep := range []int{0, 10, 50, 90, 100} {
		t.Run(fmt.Sprintf("keep%d", keep), func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewCrashableMem()
			s := openMem(t, fs, nil)
			led := newLedger()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(keep), uint64(w)))
					for n := range 150 {
						select {
						case <-stop:
							return
						default:
							led.live(s, r, n)
						}
					}
				})
			}
			r := rand.New(rand.NewPCG(uint64(keep), 99))
			for range 8 {
				wait := time.NewTimer(time.Duration(r.IntN(20)) * time.Millisecond)
				<-wait.C
				acked, _ := led.snapshot()
				clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: r})
				_, ended := led.snapshot()
				verify(t, clone, acked, ended)
			}
			close(stop)
			wg.Wait()
		})
	}
}

// TestEveryWriteFails lets the n-th write or sync fail, for every n of a short
// life, and checks that nothing acknowledged is lost when the power goes.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		for n := range int32(60) {
			mem := vfs.NewCrashableMem()
			var left atomic.Int32
			left.Store(-1)
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Load() >= 0 && left.Add(-1) == -1 {
					return fault
				}
				return nil
			}))
			s, err := Open(Options{Dir: "spool", FS: fs, Reserve: -1, MemTable: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			left.Store(n)
			led := newLedger()
			r := rand.New(rand.NewPCG(uint64(n), 7))
			for k := range 8 {
				led.live(s, r, k)
			}
			acked, ended := led.snapshot()
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
			verify(t, clone, acked, ended)
			_ = s.Close()
		}
	}
}
