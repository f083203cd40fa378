package postscreen

import (
	"errors"
	"os"
	"strconv"
	"time"

	"postroad/internal/event"
)

// maxPregreet is how much of what a client said too early is counted.
const maxPregreet = 1023

// early runs the tests before the greeting: the client gets the first half of a
// greeting and is listened to for a while; meanwhile lists in the DNS are asked.
// False means that the client is done.
func (c *client) early() bool {
	s := c.srv
	c.begin("tests before SMTP handshake")
	end := c.began.Add(s.current().GreetWait)
	if c.todo.has(pregreet) && !c.write("220-"+c.set.GreetBanner+"\r\n") {
		c.hungUp()
		return false
	}
	var sc *score
	if c.todo.has(dnsbl) {
		sc = s.lists.scorer.request(c.ctx, c.ends.Client.Addr())
		defer s.lists.scorer.release(sc)
	}
	if c.todo.has(pregreet) && !c.listen(end, sc) {
		return false
	}
	if sc != nil && (!c.todo.has(pregreet) || c.failed.has(pregreet)) {
		c.await(end, sc.done)
	}
	// An allowlist may make the other tests unnecessary; one that has answered in
	// time does so before they are judged.
	allowed := sc != nil && closed(sc.done) && c.allowlisted(sc)
	if c.todo.has(pregreet) {
		c.judgePregreet()
	}
	if sc != nil {
		if !allowed {
			c.allowlisted(sc)
		}
		return c.judgeScore(sc)
	}
	return true
}

// closed tells whether a channel is closed.
func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// await waits for the lists, or the end.
func (c *client) await(end time.Time, listed <-chan struct{}) {
	t := time.NewTimer(time.Until(end))
	defer t.Stop()
	select {
	case <-listed:
	case <-t.C:
	case <-c.ctx.Done():
	}
}

// listen waits whether the client says something before it may; an allowlist can
// end the wait. False means that the client is done.
func (c *client) listen(end time.Time, sc *score) bool {
	if err := c.raw.SetReadDeadline(end); err != nil {
		c.hungUp()
		return false
	}
	if sc != nil && c.set.AllowThreshold < 0 {
		stop := make(chan struct{})
		defer close(stop)
		// goroutine: wakes the reader when the lists speak for the client; ends with
		// the wait.
		go func() {
			select {
			case <-sc.done:
				if total, _, _ := c.srv.lists.scorer.result(sc); c.praised(total) {
					_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // a closed one is awake
				}
			case <-stop:
			}
		}()
	}
	err := error(nil)
	if c.r.Buffered() == 0 {
		err = c.r.More()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return true
	case err != nil:
		c.hungUp()
		return false
	}
	said := c.r.Peek()
	text := string(event.AppendEscaped(nil, said[:min(len(said), maxPregreet)]))
	c.srv.log.Emit(&event.Screening{What: "pregreet", Text: "PREGREET " + strconv.Itoa(min(len(said), maxPregreet)) + " after " + c.elapsed() +
		" from " + c.name + ": " + text[:min(len(text), 100)]})
	c.failed |= only(pregreet)
	c.decided |= only(pregreet)
	switch c.srv.rules.actions[pregreet] {
	case drop:
		c.drop("521 5.5.1 Protocol error")
		return false
	case enforce:
		c.enforce("550 5.5.1 Protocol error")
	}
	return true
}

// judgePregreet ends the test.
func (c *client) judgePregreet() {
	if !c.failed.has(pregreet) && !c.decided.has(pregreet) {
		c.good(pregreet, c.set.GreetTTL)
		c.passed |= only(pregreet)
	}
	if c.failed.has(pregreet) && c.srv.rules.actions[pregreet] == ignore {
		// Not passed either: the test is repeated the next time.
		c.failed &^= only(pregreet)
	}
}

// praised tells whether a score is that of an allowlist.
func (c *client) praised(total int) bool {
	return c.set.AllowThreshold < 0 && total < c.set.Threshold && total <= c.set.AllowThreshold
}

// allowlisted spares a client the other tests when the lists speak for it and it
// has failed none. Tests that are off count as passed too, so that turning one on
// does not hit such clients.
func (c *client) allowlisted(sc *score) bool {
	total, _, ttl := c.srv.lists.scorer.result(sc)
	if !c.praised(total) || c.hasFailed() {
		return false
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	until := time.Now().Add(ttl).Unix()
	for ch := range checks {
		if ch == dnsbl {
			continue
		}
		if c.todo.has(ch) && !c.passed.has(ch) {
			c.passed |= only(ch)
			c.decided |= only(ch)
		}
		c.info.until[ch] = max(c.info.until[ch], until)
	}
	return true
}

// judgeScore decides by what the lists say; false means that the client is done.
func (c *client) judgeScore(sc *score) bool {
	total, name, ttl := c.srv.lists.scorer.result(sc)
	if total < c.set.Threshold {
		c.good(dnsbl, ttl)
		c.passed |= only(dnsbl)
		return true
	}
	c.srv.log.Emit(&event.Screening{What: "dnsbl", Text: "DNSBL rank " + strconv.Itoa(total) + " for " + c.name})
	reply := " 5.7.1 Service unavailable; client [" + c.ends.Client.Addr().String() + "] blocked using " + name
	switch c.srv.rules.actions[dnsbl] {
	case drop:
		c.failed |= only(dnsbl)
		c.drop("521" + reply)
		return false
	case enforce:
		c.failed |= only(dnsbl)
		c.enforce("550" + reply)
	}
	return true
}
