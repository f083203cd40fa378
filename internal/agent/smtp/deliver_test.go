package smtp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"postroad/internal/agent"
	"postroad/internal/dns"
)

// one is a world with a single server, 192.0.2.1 for example.test.
func one(t *testing.T, scripts ...[]string) *world {
	return &world{
		t: t, mx: map[string][]dns.MXRecord{"example.test": {{Host: "mx.test", Pref: 10}}},
		hosts:   map[string][]string{"mx.test": {"192.0.2.1"}},
		scripts: map[string][][]string{"192.0.2.1:25": scripts},
	}
}

const mailLine = "< MAIL FROM:<a@c.test> SIZE=21"

func TestDeliverOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := one(t, steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data",
			"> 250 2.0.0 Ok: queued as 12345", "< QUIT", "end"))
		got := brief(w.client(w.config()).Deliver(t.Context(), w.delivery("example.test", "b@example.test")))
		want := "0 sent 2.0.0 mx.test[192.0.2.1]:25 tls=none (250 2.0.0 Ok: queued as 12345)"
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		w.wg.Wait()
		if fmt.Sprintf("%q", w.data) != `["Subject: x\r\n\r\nhello\r\n.\r\n"]` {
			t.Errorf("data %q", w.data)
		}
	})
}

// TestPhases breaks a session in each phase in each way.
func TestPhases(t *testing.T) {
	t.Parallel()
	phases := []struct {
		name, where, command string
		before               []string
		late                 bool // the recipients know more than "refused"
	}{
		{"greeting", "receiving the initial server greeting", "", nil, false},
		{"ehlo", "performing the EHLO handshake", "", []string{"> 220 hi", "< EHLO c.test"}, false},
		{"mail", "sending MAIL FROM", "MAIL FROM command", steps(hello[:3], "> 250-SIZE", "> 250 8BITMIME", mailLine), true},
		{"rcpt", "sending RCPT TO", "RCPT TO command", steps(hello[:3], "> 250-SIZE", "> 250 8BITMIME", mailLine, "> 250 ok", "< RCPT TO:<b@example.test>"), true},
		{"data", "sending DATA command", "DATA command", steps(hello[:3], "> 250-SIZE", "> 250 8BITMIME", mailLine, "> 250 ok", "< RCPT TO:<b@example.test>", "> 250 ok", "< DATA"), true},
		{"dot", "sending end of data -- message may be sent more than once", "end of DATA command",
			steps(hello[:3], "> 250-SIZE", "> 250 8BITMIME", mailLine, "> 250 ok", "< RCPT TO:<b@example.test>", "> 250 ok", "< DATA", "> 354 go", "data"), true},
	}
	for _, p := range phases {
		relay := "mx.test[192.0.2.1]:25"
		host := "mx.test[192.0.2.1]"
		site := " SITE"
		tls := "none?"
		if p.late {
			site, tls = "", "none"
		}
		said := func(reply string) string {
			if p.late {
				return "(host " + host + " said: " + reply + " (in reply to " + p.command + "))"
			}
			return "(host " + host + " refused to talk to me: " + reply + ")"
		}
		ways := []struct{ name, step, want string }{
			{"4xx", "> 450 4.3.2 later", "0 deferred 4.3.2 " + relay + " tls=" + tls + site + " " + said("450 4.3.2 later")},
			{"5xx", "> 550 5.7.1 no", "0 bounced 5.7.1 " + relay + " tls=" + tls + " " + said("550 5.7.1 no")},
			{"5xx without code", "> 550 no", "0 bounced 5.0.0 " + relay + " tls=" + tls + " " + said("550 no")},
			{"421", "> 421 4.3.0 bye", "0 deferred 4.3.0 " + relay + " tls=" + tls + site + " " + said("421 4.3.0 bye")},
			{"drop", "drop", "0 deferred 4.4.2 " + relay + " tls=" + tls + " SITE (lost connection with " + host + " while " + p.where + ")"},
			{"stall", "stall", "0 deferred 4.4.2 " + relay + " tls=" + tls + " SITE (conversation with " + host + " timed out while " + p.where + ")"},
			{"garbage then drop", "raw \x00\xff\r\n", "0 deferred 4.4.2 " + relay + " tls=" + tls + " SITE (lost connection with " + host + " while " + p.where + ")"},
			{"endless line", "raw " + strings.Repeat("x", 70<<10), "0 deferred 4.5.0 " + relay + " tls=" + tls + " SITE (server " + host + " sent a reply that is too long while " + p.where + ")"},
		}
		for _, way := range ways {
			t.Run(p.name+" "+way.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					script := steps(p.before, way.step)
					switch {
					case way.step == "drop" || way.step == "stall":
					case strings.HasPrefix(way.step, "raw \x00"):
						script = append(script, "drop")
					}
					w := one(t, script)
					want := way.want
					switch {
					case p.name == "greeting" && strings.HasPrefix(way.name, "5xx"):
						// smtp_skip_5xx_greeting
						want = strings.NewReplacer("bounced 5.", "deferred 4.", "tls=none?", "tls=none? SITE").Replace(want)
					case p.name == "ehlo" && (way.name == "4xx" || strings.HasPrefix(way.name, "5xx")):
						// HELO is tried next.
						w.scripts["192.0.2.1:25"][0] = steps(script, "< HELO c.test", way.step)
					}
					got := brief(w.client(w.config()).Deliver(t.Context(), w.delivery("example.test", "b@example.test")))
					w.wg.Wait()
					if got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				})
			})
		}
	}
}

func TestPerRecipient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := one(t, steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< RCPT TO:<c@example.test>", `< RCPT TO:<"d d"@example.test>`, "< DATA",
			"> 250 ok", "> 250 ok", "> 550-5.1.1 first", "> 550 5.1.1 no such", "> 450 4.2.2 full", "> 354 go", "data", "> 250 2.6.0 fine", "< QUIT", "end"))
		got := brief(w.client(w.config()).Deliver(t.Context(), w.delivery("example.test", "b@example.test", "c@example.test", "d d@example.test")))
		want := `0 sent 2.6.0 mx.test[192.0.2.1]:25 tls=none (250 2.6.0 fine)
1 bounced 5.1.1 mx.test[192.0.2.1]:25 tls=none (host mx.test[192.0.2.1] said: 550-5.1.1 first 550 5.1.1 no such (in reply to RCPT TO command))
2 deferred 4.2.2 mx.test[192.0.2.1]:25 tls=none (host mx.test[192.0.2.1] said: 450 4.2.2 full (in reply to RCPT TO command))`
		w.wg.Wait()
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestFailover(t *testing.T) {
	t.Parallel()
	good := steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 2.0.0 got it")
	sent := func(n int) string {
		return fmt.Sprintf("0 sent 2.0.0 mx%d.test[192.0.2.%d]:25 tls=none (250 2.0.0 got it)", n, n)
	}
	tests := []struct {
		name    string
		scripts map[string][][]string
		want    string
		log     string
		dialled string
	}{
		{"first works", map[string][][]string{"192.0.2.1:25": {good}}, sent(1), "", "192.0.2.1:25"},
		{"refused", map[string][][]string{"192.0.2.2:25": {good}}, sent(2), "connect to mx1.test[192.0.2.1]:25: Connection refused", "192.0.2.1:25 192.0.2.2:25"},
		{"no route", map[string][][]string{"192.0.2.1:25": {{"errno 113"}}, "192.0.2.2:25": {good}}, sent(2), "connect to mx1.test[192.0.2.1]:25: No route to host", "192.0.2.1:25 192.0.2.2:25"},
		{"5xx greeting", map[string][][]string{"192.0.2.1:25": {{"> 554 go away"}}, "192.0.2.2:25": {good}}, sent(2),
			"QID: host mx1.test[192.0.2.1] refused to talk to me: 554 go away", "192.0.2.1:25 192.0.2.2:25"},
		{"temporary at RCPT", map[string][][]string{"192.0.2.1:25": {steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 450 4.7.1 greylisted", "> 554 no valid recipients", "< RSET", "< QUIT")}, "192.0.2.2:25": {good}}, sent(2),
			"QID: host mx1.test[192.0.2.1] said: 450 4.7.1 greylisted (in reply to RCPT TO command)", "192.0.2.1:25 192.0.2.2:25"},
		{"permanent at RCPT", map[string][][]string{"192.0.2.1:25": {steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 550 5.1.1 no", "> 354 go", "< .", "< QUIT", "> 554 no recipients")}, "192.0.2.2:25": {good}},
			"0 bounced 5.1.1 mx1.test[192.0.2.1]:25 tls=none (host mx1.test[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command))", "", "192.0.2.1:25"},
		{"two sessions are enough", map[string][][]string{"192.0.2.1:25": {steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "drop")},
			"192.0.2.2:25": {steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 451 4.3.0 x", "> 451 4.3.0 x", "> 451 4.3.0 x", "< RSET", "< QUIT")}, "192.0.2.3:25": {good}},
			"0 deferred 4.3.0 mx2.test[192.0.2.2]:25 tls=none (host mx2.test[192.0.2.2] said: 451 4.3.0 x (in reply to MAIL FROM command))",
			"QID: lost connection with mx1.test[192.0.2.1] while sending MAIL FROM", "192.0.2.1:25 192.0.2.2:25"},
		{"nobody", nil, "0 deferred 4.4.1 none tls=none? SITE (connect to mx3.test[192.0.2.3]:25: Connection refused)",
			"connect to mx1.test[192.0.2.1]:25: Connection refused\nconnect to mx2.test[192.0.2.2]:25: Connection refused\nconnect to mx3.test[192.0.2.3]:25: Connection refused",
			"192.0.2.1:25 192.0.2.2:25 192.0.2.3:25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, scripts: tt.scripts,
					mx:    map[string][]dns.MXRecord{"example.test": {{Host: "mx2.test", Pref: 20}, {Host: "mx1.test", Pref: 10}, {Host: "mx3.test", Pref: 30}}},
					hosts: map[string][]string{"mx1.test": {"192.0.2.1"}, "mx2.test": {"192.0.2.2"}, "mx3.test": {"192.0.2.3"}}}
				got := brief(w.client(w.config()).Deliver(t.Context(), w.delivery("example.test", "b@example.test")))
				w.wg.Wait()
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if log := strings.Join(w.log.Lines(), "\n"); log != tt.log {
					t.Errorf("log  %s\nwant %s", log, tt.log)
				}
				if d := strings.Join(w.dialled, " "); d != tt.dialled {
					t.Errorf("dialled %s, want %s", d, tt.dialled)
				}
			})
		})
	}
}

func TestReuse(t *testing.T) {
	t.Parallel()
	round := steps(mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 2.0.0 ok")
	again := steps("< RSET", round[:3], "> 250 reset", round[3:])
	tests := []struct {
		name    string
		scripts [][]string
		more    []bool
		want    string
		dialled int
	}{
		{"three messages, one connection", [][]string{steps(hello, round, again, again, "< QUIT", "end")}, []bool{true, true, false}, "0 2 3", 1},
		{"server closed meanwhile", [][]string{steps(hello, round, "drop"), steps(hello, round, "< QUIT", "end")}, []bool{true, false}, "0 0", 2},
		{"421 meanwhile", [][]string{steps(hello, round, "< RSET", "> 421 idle too long", "drop"), steps(hello, round, "< QUIT", "end")}, []bool{true, false}, "0 0", 2},
		{"silent meanwhile", [][]string{steps(hello, round, "stall"), steps(hello, round, "< QUIT", "end")}, []bool{true, false}, "0 0", 2},
		{"after a refusal", [][]string{steps(hello, mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 550 no", "> 554 no", "< RSET", round[:3], "> 250 reset", round[3:], "< QUIT", "end")}, []bool{true, false}, "0 2", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := one(t, tt.scripts...)
				c := w.client(w.config())
				var uses []string
				for _, more := range tt.more {
					d := w.delivery("example.test", "b@example.test")
					d.Reuse = agent.Reuse{Load: true, Store: more}
					r := c.Deliver(t.Context(), d)
					if len(r) != 1 {
						t.Fatalf("%d results", len(r))
					}
					n := r[0].ConnUse
					if n == 1 {
						n = 0
					}
					uses = append(uses, fmt.Sprint(n))
				}
				w.wg.Wait()
				if got := strings.Join(uses, " "); got != tt.want || len(w.dialled) != tt.dialled {
					t.Errorf("uses %s with %d connections, want %s with %d\n%s", got, len(w.dialled), tt.want, tt.dialled, strings.Join(w.log.Lines(), "\n"))
				}
				c.Close()
			})
		})
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		round := steps(mailLine, "< RCPT TO:<b@example.test>", "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 2.0.0 ok")
		w := one(t, steps(hello, round, "< QUIT", "end"))
		c := w.client(w.config())
		d := w.delivery("example.test", "b@example.test")
		d.Reuse = agent.Reuse{Load: true, Store: true}
		c.Deliver(t.Context(), d)
		w.wg.Wait() // time passes by itself
		if c.pool.count != 0 || len(c.pool.idle) != 0 {
			t.Errorf("%d connections left", c.pool.count)
		}
	})
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := one(t, steps(hello, mailLine, "stall"))
		ctx, cancel := context.WithCancel(t.Context())
		c := w.client(w.config())
		done := make(chan string)
		// goroutine: ends with the delivery, which the test cancels.
		go func() { done <- brief(c.Deliver(ctx, w.delivery("example.test", "b@example.test"))) }()
		synctest.Wait()
		cancel()
		want := "0 deferred 4.3.2 mx.test[192.0.2.1]:25 tls=none (delivery interrupted: mail system is shutting down)"
		if got := <-done; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		w.wg.Wait()
	})
}
