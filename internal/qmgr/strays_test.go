package qmgr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/mail"
)

// TestStrays: messages that nothing leads to are found after a restart; those that
// are in their places are left alone.
func TestStrays(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		store := w.open()
		lose := func(id mail.QueueID, done ...int32) {
			env, _, err := w.store.Message(id)
			if err != nil {
				t.Fatal(err)
			}
			c := w.store.Change()
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
		heldLost := w.send("lost@x.test")
		lose(heldLost)
		c := store.Change()
		c.Hold(heldLost, nil)
		if err := errors.Join(c.Commit(), store.Close()); err != nil {
			t.Fatal(err)
		}
		w.answer, w.settings.ActiveLimit = busy, 1
		w.start()
		if got := w.tried(); len(got) != 0 || w.left() != 5 {
			t.Fatalf("tried %q, %d left: the test has no strays", got, w.left())
		}
		places := map[mail.QueueID]string{held: "held", heldLost: "held"}
		places[w.send("later@y.test")] = "job 1"
		time.Sleep(time.Second)
		w.says(newWorld(t).answer)
		w.block = make(chan struct{})
		slow := w.send("slow@y.test")
		places[slow] = "active"
		synctest.Wait()
		lose(slow)
		places[w.send("beyond@y.test")] = "incoming" // no memory is left for it
		time.Sleep(strayDelay + strayPause + time.Second)
		for id, want := range places {
			if got := w.place(id); got != want {
				t.Errorf("%s: %s, want %s", id, got, want)
			}
		}
		close(w.block)
		time.Sleep(10 * time.Second)
		got := w.tried()
		slices.Sort(got)
		if got := strings.Join(got, ", "); got != "beyond@y.test, later@y.test, single@x.test, slow@y.test, todo@x.test" {
			t.Errorf("tried %q", got)
		}
		if n := w.left(); n != 3 || w.place(held) != "held" {
			t.Errorf("%d left", n)
		}
	})
}

// place tells where a message is.
func (w *world) place(id mail.QueueID) string {
	sum, err := w.store.Summary(id)
	if err != nil {
		return err.Error()
	}
	switch {
	case len(sum.Jobs) > 0:
		return fmt.Sprintf("job %d", sum.Jobs[0].No)
	case sum.Held:
		return "held"
	case w.m.active(id):
		return "active"
	case sum.Incoming:
		return "incoming"
	}
	return "nowhere"
}

// TestStrayAgain: a message that is lost once more gets a job that it never had,
// although its jobs count from 1.
func TestStrayAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = busy
		w.start()
		id := w.send("a@x.test")
		time.Sleep(time.Second)
		seen := map[uint32]bool{}
		for range 3 {
			sum, err := w.store.Summary(id)
			if err != nil || len(sum.Jobs) != 1 || seen[sum.Jobs[0].No] {
				t.Errorf("%+v, %v, had %v", sum, err, seen)
				return
			}
			seen[sum.Jobs[0].No] = true
			job, err := w.store.Job(id, sum.Jobs[0].No)
			if err != nil {
				t.Fatal(err)
			}
			c := w.store.Change()
			c.Take(job)
			if err := c.Commit(); err != nil {
				t.Fatal(err)
			}
			w.stop()
			w.start()
			time.Sleep(strayDelay + strayPause + time.Second)
		}
	})
}

// TestDoneAtArrival: a crash between the record of the last delivery and the removal
// leaves a message with nothing to do.
func TestDoneAtArrival(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		store := w.open()
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
