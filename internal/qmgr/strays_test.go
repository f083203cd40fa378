package qmgr

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/mail"
	"postroad/internal/queue"
)

// TestStrays: messages that nothing leads to are found after a restart; those that
// are in their places are left alone.
func TestStrays(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		store, err := queue.Open(queue.Options{Dir: "spool", FS: w.fs, Reserve: -1, MemTable: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		w.store = store
		lose := func(id mail.QueueID, done ...int32) {
			env, _, err := store.Message(id)
			if err != nil {
				t.Fatal(err)
			}
			c := store.Change()
			if len(done) > 0 {
				c.Done(id, done)
			}
			c.Routed(env)
			if err := c.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		lose(w.send("done@x.test", "todo@x.test"), 0)
		lose(w.send("one@x.test", "two@x.test"), 0, 1)
		lose(w.send("single@x.test"))
		held := w.sendAs(mail.Envelope{Sender: "s@example.org", Hold: true}, "held@x.test")
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		w.start()
		if got := w.tried(); len(got) != 0 || w.left() != 4 {
			t.Fatalf("tried %q, %d left: the test has no strays", got, w.left())
		}
		time.Sleep(strayDelay + strayPause + time.Second)
		synctest.Wait()
		got := strings.Join(w.tried(), ", ")
		if !strings.Contains(got, "todo@x.test") || !strings.Contains(got, "single@x.test") || strings.Contains(got, "done@") || strings.Contains(got, "held@") {
			t.Errorf("tried %q", got)
		}
		if sum, err := w.store.Summary(held); w.left() != 1 || err != nil || !sum.Held {
			t.Errorf("%d left, %+v, %v", w.left(), sum, err)
		}
	})
}

// TestDoneAtArrival: a crash between the record of the last delivery and the removal
// leaves a message with nothing to do.
func TestDoneAtArrival(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		store, err := queue.Open(queue.Options{Dir: "spool", FS: w.fs, Reserve: -1, MemTable: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		w.store = store
		id := w.send("a@x.test", "b@x.test")
		c := store.Change()
		c.Done(id, []int32{0, 1})
		if err := c.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		w.start()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.tried(); len(got) != 0 || w.left() != 0 {
			t.Errorf("tried %q, %d left", got, w.left())
		}
	})
}
