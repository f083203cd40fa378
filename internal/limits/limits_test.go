package limits

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"{ sasl_username 100/1h 500/1d }", "sasl_username 0/0 [100/1h 500/1d] messages sasl_username:messages:1h,1d"},
		{"{sasl_username,100/60m,500/24h}", "sasl_username 0/0 [100/1h 500/1d] messages sasl_username:messages:1h,1d"},
		{"{ client_address/24/56 10/h, count=recipients }", "client_address 24/56 [10/1h] recipients client_address/24/56:recipients:1h"},
		{"{ sender 5/90, name=slow, limits=hash:/x }", "sender 0/0 [5/90s] messages slow"},
		{"{ sender { 5/1m 6/1w }, map=inline:{a=b} }", "sender 0/0 [5/1m 6/1w] messages sender:inline:{a=b}:messages:1m,1w"},
		{"{ recipient_domain 0/1d, { action = HOLD too much }, { exempt = 10.0.0.0/8, [::1] } }", "recipient_domain 0/0 [0/1d] messages recipient_domain:messages:1d HOLD too much [10.0.0.0/8 [::1]]"},
		{"sasl_username", `need "{ key number/period ... }" instead of "sasl_username"`},
		{"{}", "need a key, such as sasl_username"},
		{"{ user 1/1h }", `unknown key "user": need one of sasl_username, client_address, sender, sender_domain, recipient, recipient_domain`},
		{"{ sender/24 1/1h }", `unknown key "sender/24": need one of sasl_username, client_address, sender, sender_domain, recipient, recipient_domain`},
		{"{ client_address/33 1/1h }", `bad network length in "client_address/33"`},
		{"{ client_address/24/0 1/1h }", `bad network length in "client_address/24/0"`},
		{"{ sender }", "need a limit, such as 100/1h"},
		{"{ sender 1 }", `need number/period instead of "1"`},
		{"{ sender -1/1h }", `need number/period instead of "-1/1h"`},
		{"{ sender 1/0 }", `bad period in "1/0"`},
		{"{ sender 1/1y }", `bad period in "1/1y"`},
		{"{ sender 1/ }", `bad period in "1/"`},
		{"{ sender 1/400d }", `bad period in "1/400d"`},
		{"{ sender 1/1h 2/60m }", "two limits for the same period: 1/1h and 2/1h"},
		{"{ sender 1/1s 1/2s 1/3s 1/4s 1/5s 1/6s 1/7s 1/8s 1/9s }", "more than 8 limits"},
		{"{ sender 1/1h count=all }", `count: need messages or recipients instead of "all"`},
		{"{ sender 1/1h map=x }", `map: need type:table instead of "x"`},
		{"{ sender 1/1h colour=x }", `unknown option "colour"`},
		{"{ sender 1/1h action= }", "action needs a value"},
		{"{ sender 1/1h, { name = a b } }", `name: bad name "a b"`},
	} {
		got := ""
		r, err := Parse(tt.in)
		if err != nil {
			got = err.Error()
		} else {
			got = strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%s %d/%d %v %s %s %s %v", r.Key, r.V4, r.V6, r.Windows, r.Unit(), r.Name, r.Action, r.Exempt), " []"), " ")
		}
		if got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.in, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"{ sasl_username 100/1h 500/1d }", "{client_address/24/56 1/h,count=recipients,{action=HOLD x}}", "{{{", "{ sender { 1/1h } map=a:b }"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		if len(r.Windows) == 0 || len(r.Windows) > maxWindows || r.Name == "" || r.Key == "" {
			t.Errorf("%q: %+v", text, r)
		}
		for _, w := range r.Windows {
			if again, err := ParseWindows(w.String()); err != nil || len(again) != 1 || again[0] != w {
				t.Errorf("%q: window %s reads as %v, %v", text, w, again, err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((&counter{rings: []ring{{per: time.Hour}}}).state())
	const hour = 3600
	for _, per := range []int64{0, -1, hour, 1 << 40} {
		for _, count := range []uint64{0, 1 << 33, 1 << 63} {
			state := binary.AppendVarint(binary.AppendVarint(nil, per), time.Now().Unix()/(hour/slots))
			for range slots + 1 {
				state = binary.AppendUvarint(state, count)
			}
			f.Add(state)
		}
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		c := New()
		c.Restore("r", "k", state)
		for _, e := range c.List("", "") {
			for _, u := range e.Used {
				if u.Used < 0 || u.Used > (slots+1)<<32 || u.Per < time.Second || u.Per > maxPer {
					t.Errorf("%x: %+v", state, u)
				}
			}
		}
	})
}

// taken asks until there is no room, n at a time, and tells how many had some.
func taken(c *Counters, windows []Window, n int) int {
	for i := 0; ; i++ {
		if _, full := c.Ask("r", "k", windows, n, true); full != nil {
			return i
		}
	}
}

// TestWindows lets time pass: at no moment more than the limit counts, and all is
// free again after the period and a sixteenth of it.
func TestWindows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, w := New(), []Window{{10, time.Hour}, {25, 24 * time.Hour}}
		if n := taken(c, w, 1); n != 10 {
			t.Fatalf("%d at first", n)
		}
		if used, full := c.Ask("r", "k", w, 1, true); full == nil || full.Per != time.Hour || used[1].Used != 10 {
			t.Errorf("full %v, used %v", full, used)
		}
		time.Sleep(time.Hour - time.Second)
		if n := taken(c, w, 1); n != 0 {
			t.Errorf("%d within the hour", n)
		}
		time.Sleep(5*time.Minute + time.Second)
		if n := taken(c, w, 1); n != 10 {
			t.Errorf("%d after the hour", n)
		}
		time.Sleep(2 * time.Hour)
		if n := taken(c, w, 1); n != 5 {
			t.Errorf("%d of what is left of the day", n)
		}
		if _, full := c.Ask("r", "k", w, 1, true); full == nil || full.Per != 24*time.Hour {
			t.Errorf("full %v", full)
		}
		time.Sleep(26 * time.Hour)
		if used, full := c.Ask("r", "k", w, 10, false); full != nil || used[1].Used != 0 {
			t.Errorf("the next day: full %v, used %v", full, used)
		}
		if n := taken(c, w, 4); n != 2 {
			t.Errorf("%d by fours", n)
		}
		// Other numbers go on with what was counted, other periods begin at zero.
		if used, _ := c.Ask("r", "k", []Window{{100, time.Hour}, {100, time.Minute}}, 1, true); used[0].Used != 8 || used[1].Used != 0 {
			t.Errorf("other windows: %v", used)
		}
	})
}

// TestSliding counts the events in every period of an hour while events come
// without end.
func TestSliding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 7
		c, w := New(), []Window{{limit, time.Hour}}
		var when []time.Time
		for i := 0; i < 2000; i++ {
			if _, full := c.Ask("r", "k", w, 1, true); full == nil {
				when = append(when, time.Now())
			}
			time.Sleep(time.Duration(i%97) * time.Second)
		}
		for i := limit; i < len(when); i++ {
			if d := when[i].Sub(when[i-limit]); d < time.Hour {
				t.Fatalf("%d events in %v", limit+1, d)
			}
		}
		if hours := int(time.Since(when[0]) / time.Hour); len(when) < hours*limit*8/10 {
			t.Errorf("only %d events in %d hours", len(when), hours)
		}
	})
}

// TestConcurrent asks from many sessions at once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	c, w := New(), []Window{{1000, time.Hour}, {1500, 24 * time.Hour}}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		// goroutine: a session; ends after its commands.
		wg.Go(func() {
			for range 100 {
				if _, full := c.Ask("r", "k", w, 1, true); full == nil {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 1000 {
		t.Errorf("%d have passed", passed.Load())
	}
}

// TestBound floods a rule with keys: memory is bounded, and who is at the limit
// stays there.
func TestBound(t *testing.T) {
	t.Parallel()
	c, w := New(), []Window{{100, time.Hour}}
	for i := range 100 {
		for range 100 {
			c.Ask("r", fmt.Sprintf("heavy%d", i), w, 1, true)
		}
	}
	for i := range maxKeys * 2 {
		c.Ask("r", fmt.Sprintf("flood%d", i), w, 1, true)
	}
	if keys, evicted := c.Len(); keys != maxKeys || evicted != maxKeys+100 {
		t.Errorf("%d keys, %d evicted", keys, evicted)
	}
	for i := range 100 {
		if _, full := c.Ask("r", fmt.Sprintf("heavy%d", i), w, 1, true); full == nil {
			t.Errorf("heavy%d was forgotten", i)
		}
	}
	for i := range maxRules + 100 {
		c.Ask(fmt.Sprintf("rule%d", i), "k", w, 1, true)
	}
	if len(c.rules) != maxRules {
		t.Errorf("%d rules", len(c.rules))
	}
	long := strings.Repeat("é", 5000)
	c.Ask("r", long+"1", w, 1, true)
	if used, _ := c.Ask("r", long+"2", w, 1, true); used[0].Used != 0 {
		t.Error("long keys are taken for one")
	}
}

// shelf is a store in memory.
type shelf struct {
	mu   sync.Mutex
	recs map[string]string
	puts int
	fail error
}

func (s *shelf) Put(name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.fail == nil {
		s.recs[name] = value
	}
	return s.fail
}

func (s *shelf) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recs, name)
	return s.fail
}

// len is how many records there are.
func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recs)
}

func (s *shelf) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

func (s *shelf) Each(yield func(name, value string) bool) error {
	for name, value := range s.recs {
		if !yield(name, value) {
			break
		}
	}
	return s.fail
}

// TestRestart takes counters over to another process.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := &shelf{recs: map[string]string{"odd": "x", "r\x00bad": "\xff"}}, []Window{{10, time.Hour}, {100, 24 * time.Hour}}
		c := New()
		for range 6 {
			c.Ask("r", "k", w, 1, true)
		}
		c.Ask("other", "k", w, 1, true)
		if n := c.Reset("other", "k"); n != 1 {
			t.Errorf("%d reset", n)
		}
		s.fail = fmt.Errorf("broken")
		if err := c.Save(s); err == nil {
			t.Error("no error")
		}
		s.fail = nil
		if err := c.Save(s); err != nil {
			t.Error(err)
		}
		time.Sleep(30 * time.Minute)
		next := New()
		next.Ask("r", "k", w, 1, true) // before the store was open
		if err := next.Load(s); err != nil {
			t.Error(err)
		}
		if list := next.List("", ""); len(list) != 1 || len(list[0].Used) != 2 || list[0].Used[0].Used != 7 || list[0].Used[1].Used != 7 {
			t.Errorf("after the restart %+v", list)
		}
		time.Sleep(31 * time.Minute)
		if used, _ := next.Ask("r", "k", w, 1, false); used[0].Used != 7 || used[1].Used != 7 {
			t.Errorf("an hour later %v", used) // the events are merged into the newest piece
		}
		time.Sleep(48 * time.Hour)
		next.prune()
		if err := next.Save(s); err != nil || len(s.recs) != 2 {
			t.Errorf("%d records are left, %v", len(s.recs), err)
		}
	})
}

// TestRun writes while it runs and a last time at the end.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &shelf{recs: map[string]string{}}, New()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		warned := 0
		// goroutine: keeps the counters; ends with ctx.
		go func() {
			defer close(done)
			c.Run(ctx, s, func(error) { warned++ })
		}()
		w := []Window{{10, time.Hour}}
		c.Ask("r", "a", w, 1, true)
		time.Sleep(saveEvery + time.Second)
		synctest.Wait()
		if n := s.len(); n != 1 {
			t.Errorf("%d records", n)
		}
		time.Sleep(5 * saveEvery)
		c.Ask("r", "b", w, 1, true)
		cancel()
		<-done
		if n := s.len(); n != 2 || s.puts != 2 || warned != 0 {
			t.Errorf("%d records at the end, written %d times, %d warnings", n, s.puts, warned)
		}
	})
}

// TestRunWarns: a store that is broken is news once.
func TestRunWarns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &shelf{recs: map[string]string{}, fail: fmt.Errorf("broken")}, New()
		ctx, cancel := context.WithCancel(t.Context())
		done, warned := make(chan struct{}), 0
		// goroutine: keeps the counters; ends with ctx.
		go func() {
			defer close(done)
			c.Run(ctx, s, func(error) { warned++ })
		}()
		w := []Window{{10, time.Minute}}
		c.Ask("r", "a", w, 1, true)
		time.Sleep(3*saveEvery + time.Second)
		synctest.Wait()
		if warned != 1 {
			t.Errorf("%d warnings", warned)
		}
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		time.Sleep(saveEvery)
		synctest.Wait()
		if s.len() != 1 {
			t.Errorf("%d records when it works again", s.len())
		}
		time.Sleep(pruneEvery + 2*saveEvery)
		synctest.Wait()
		if keys, _ := c.Len(); keys != 0 || s.len() != 0 {
			t.Errorf("%d keys and %d records are left of what is long over", keys, s.len())
		}
		cancel()
		<-done
	})
}

// TestChoice lists and resets by rule and by key.
func TestChoice(t *testing.T) {
	t.Parallel()
	c, w, long := New(), []Window{{10, time.Hour}}, strings.Repeat("x", 1000)
	for _, rule := range []string{"a", "b"} {
		for _, key := range []string{"j", "k", long} {
			c.Ask(rule, key, w, 1, true)
		}
	}
	for _, test := range []struct {
		rule, key string
		want      int
	}{{"", "", 6}, {"a", "", 3}, {"", "j", 2}, {"b", "k", 1}, {"b", long, 1}, {"c", "", 0}, {"a", "x", 0}} {
		if n := len(c.List(test.rule, test.key)); n != test.want {
			t.Errorf("%q %.9q: %d, want %d", test.rule, test.key, n, test.want)
		}
	}
	if n := c.Reset("a", "j"); n != 1 || len(c.List("", "")) != 5 {
		t.Errorf("%d reset, %d left", n, len(c.List("", "")))
	}
	if n := c.Reset("", long); n != 2 || len(c.List("", "")) != 3 {
		t.Errorf("%d reset, %d left", n, len(c.List("", "")))
	}
	if keys, _ := c.Len(); keys != 3 {
		t.Errorf("%d keys", keys)
	}
}

// TestLook looks without counting, at what is there and at what is not.
func TestLook(t *testing.T) {
	t.Parallel()
	c, w := New(), []Window{{2, time.Hour}, {3, 24 * time.Hour}}
	if used, full := c.Ask("r", "k", w, 2, false); full != nil || used[0].Used != 0 || used[1].Max != 3 {
		t.Errorf("%v, full %v", used, full)
	}
	if _, full := c.Ask("r", "k", w, 3, false); full == nil || full.Max != 2 {
		t.Errorf("three at once: full %v", full)
	}
	if keys, _ := c.Len(); keys != 0 {
		t.Errorf("%d keys of looking", keys)
	}
	c.Ask("r", "k", w, 1, true)
	for range 3 {
		if used, full := c.Ask("r", "k", w, 1, false); full != nil || used[0].Used != 1 || used[1].Used != 1 {
			t.Errorf("%v, full %v", used, full)
		}
	}
}

// TestIdleFirst: what counts nothing any more makes room before anything that does.
func TestIdleFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, w := New(), []Window{{100, time.Minute}}
		for i := range sample {
			c.Ask("r", fmt.Sprint(i), w, 1, true)
		}
		time.Sleep(2 * time.Minute)
		for i := range sample {
			if i != 7 {
				c.Ask("r", fmt.Sprint(i), w, 1, true)
			}
		}
		if got := c.least(c.rules["r"], time.Now()); got != "7" {
			t.Errorf("%s is forgotten", got)
		}
	})
}

// TestShare: who has used up a small limit is nearer to it than who has used a little
// of a large one.
func TestShare(t *testing.T) {
	t.Parallel()
	c := New()
	c.Ask("r", "small", []Window{{1, time.Hour}}, 1, true)
	for range 5 {
		c.Ask("r", "large", []Window{{100, time.Hour}}, 1, true)
	}
	if got := c.least(c.rules["r"], time.Now()); got != "large" {
		t.Errorf("%s is forgotten", got)
	}
}

// TestClock sets the clock back.
func TestClock(t *testing.T) {
	t.Parallel()
	r, now := ring{per: time.Hour}, time.Unix(1_700_000_000, 0)
	r.advance(now)
	r.add(5)
	r.advance(now.Add(-10 * time.Minute))
	r.add(1)
	if r.sum != 6 {
		t.Errorf("a little: %d", r.sum)
	}
	r.advance(now.Add(-48 * time.Hour))
	if r.sum != 0 {
		t.Errorf("far: %d", r.sum)
	}
}
