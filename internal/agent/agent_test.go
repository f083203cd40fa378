package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/agent"
	"postroad/internal/agent/agenttest"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/table"
)

// bench is an agent with everything around it.
type bench struct {
	agent.Agent
	dir      string
	forwards []*agent.Forward
}

// newBench builds the agent that a master.cf service with this command is.
func newBench(t *testing.T, program, mainCF string) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	mainCF = strings.ReplaceAll(mainCF, "DIR", b.dir)
	cfg, problems := postconf.Parse(b.dir, []byte("myhostname = mx.test\n"+mainCF), []byte(program+" unix - n n - - "+program+"\nretry unix - - - - - error\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	set := table.NewSet(table.Options{Warn: t.Logf})
	t.Cleanup(func() { _ = set.Close() })
	deps := &agent.Deps{
		Tables: set, Users: &privdeliver.Users{},
		Search: table.AddressSearch{Delimiters: "+", LocalDomain: func(_ context.Context, d string) (bool, error) { return d == "mx.test", nil }},
		Rewrite: func(a string) mail.Address {
			if !strings.Contains(a, "@") {
				a += "@mx.test"
			}
			return mail.Address(a)
		},
		Resolve: func(_ context.Context, _, r mail.Address) (mail.Route, error) {
			if r.Domain() == "mx.test" {
				return mail.Route{Transport: "local", Nexthop: "mx.test", Recipient: r, Class: mail.ClassLocal}, nil
			}
			return mail.Route{Transport: "smtp", Nexthop: mail.Nexthop(r.Domain()), Recipient: r}, nil
		},
		Addresses: func(list string) (out []agent.Entry) {
			for _, text := range postconf.SplitList(strings.ReplaceAll(list, `"`, "")) {
				out = append(out, agent.Entry{Address: mail.Address(strings.TrimPrefix(text, `\`)), Text: text})
			}
			return out
		},
		Pass: func(_ context.Context, to string, d *agent.Delivery) ([]mail.Result, string, bool) {
			if strings.HasPrefix(to, "nowhere") {
				return nil, "", false
			}
			if to == "local" {
				return b.Deliver(context.Background(), d), "postfix/local", true
			}
			return []mail.Result{{Enhanced: "4.2.0", Text: "busy at " + to, Relay: "there"}}, "postfix/lmtp", true
		},
		Submit: func(_ context.Context, f *agent.Forward) (mail.QueueID, error) {
			b.forwards = append(b.forwards, f)
			return "NEWMSG", nil
		},
	}
	for _, row := range agent.Rows() {
		if row.Program != program {
			continue
		}
		a, problems := row.New(cfg.View(cfg.Service(program, "unix")), deps)
		if postconf.HasFatal(problems) {
			t.Fatal(problems)
		}
		b.Agent, problems = agent.Filtered(a, cfg.View(cfg.Service(program, "unix")), set)
		if postconf.HasFatal(problems) {
			t.Fatal(problems)
		}
	}
	return b
}

func one(t *testing.T, a agent.Agent, route mail.Route, rcpt mail.Address) mail.Result {
	t.Helper()
	res := a.Deliver(context.Background(), agenttest.Delivery(route, rcpt))
	if len(res) != 1 {
		t.Fatalf("%d answers", len(res))
	}
	return res[0]
}

const virtualCF = `
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ {alice@x.test = x.test/alice/} {bob@x.test = x.test/bob} {bad@x.test = ../../etc/passwd} }
virtual_mailbox_lock = fcntl, dotlock
`

func TestVirtualConforms(t *testing.T) {
	t.Parallel()
	b := newBench(t, "virtual", virtualCF)
	agenttest.Run(t, b, mail.Route{Transport: "virtual", Nexthop: "x.test"}, "alice@x.test", "nobody@x.test")
}

func TestVirtual(t *testing.T) {
	t.Parallel()
	b := newBench(t, "virtual", virtualCF)
	route := mail.Route{Transport: "virtual", Nexthop: "x.test"}
	res := one(t, b, route, "Alice@X.test")
	if res.Outcome != mail.Sent || res.Text != "delivered to maildir" || res.Relay != "virtual" || res.Sync == nil || res.Sync() != nil {
		t.Errorf("maildir: %+v", res)
	}
	files, _ := filepath.Glob(b.dir + "/mail/x.test/alice/new/*.mx.test")
	if len(files) != 1 {
		t.Fatalf("maildir holds %v", files)
	}
	text, _ := os.ReadFile(files[0])
	want := "Return-Path: <sender@example.org>\nX-Original-To: Alice@X.test\nDelivered-To: alice@x.test\nReceived: by x\nSubject: test\n\nFrom a line\n.dot\n"
	if string(text) != want {
		t.Errorf("got %q", text)
	}
	if res := one(t, b, route, "bad@x.test"); res.Outcome != mail.Deferred || res.Enhanced != "4.3.5" {
		t.Errorf("path with ..: %+v", res)
	}
	if res := one(t, b, route, "nobody@x.test"); res.Outcome != mail.Bounced || res.Text != `unknown user: "nobody@x.test"` {
		t.Errorf("unknown: %+v", res)
	}
}

func TestVirtualTableTrouble(t *testing.T) {
	t.Parallel()
	b := newBench(t, "virtual", "virtual_mailbox_maps = fail:x\nvirtual_mailbox_base = DIR\n")
	if res := one(t, b, mail.Route{}, "a@x.test"); res.Outcome != mail.Deferred || res.Enhanced != "4.3.5" {
		t.Errorf("a broken table: %+v", res)
	}
}

func TestErrorAndDiscard(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"error":   "bounced 5.1.1 no such user",
		"discard": "sent 2.0.0 5.1.1 no such user",
	} {
		b := newBench(t, program, "")
		res := one(t, b, mail.Route{Nexthop: "5.1.1 no such user"}, "a@x.test")
		if got := fmt.Sprintf("%v %s %s", res.Outcome, res.Enhanced, res.Text); got != want {
			t.Errorf("%s: %s", program, got)
		}
	}
	b := newBench(t, "error", "")
	if res := one(t, b, mail.Route{Nexthop: "4.2.0 later"}, "a@x.test"); res.Outcome != mail.Deferred {
		t.Errorf("a 4.x.x text bounced: %+v", res)
	}
}

func TestSplitEnhanced(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"5.1.1 x y": {"5.1.1", "x y"}, "x y": {"5.0.0", "x y"}, "5.1 x": {"5.0.0", "5.1 x"},
		"6.1.1 x": {"5.0.0", "6.1.1 x"}, "4.1234.1 x": {"5.0.0", "4.1234.1 x"}, "": {"5.0.0", ""},
	} {
		if code, text := agent.SplitEnhanced(in, "5.0.0"); [2]string{code, text} != want {
			t.Errorf("%q: %q %q", in, code, text)
		}
	}
}

func TestVirtualOwners(t *testing.T) {
	t.Parallel()
	for maps, why := range map[string]string{
		"virtual_uid_maps = static:0\nvirtual_gid_maps = static:1000\n":                             "root",
		"virtual_uid_maps = static:99\nvirtual_gid_maps = static:1000\n":                            "below virtual_minimum_uid",
		"virtual_uid_maps = static:x\nvirtual_gid_maps = static:1000\n":                             "no number",
		"virtual_uid_maps = inline:{{a=5000}}\nvirtual_gid_maps = static:1000\n":                    "not in the table",
		"virtual_uid_maps = static:54321\nvirtual_gid_maps = static:54321\n":                        "somebody else, and no master to ask",
		"virtual_uid_maps = static:54321\nvirtual_gid_maps = static:0\nvirtual_minimum_uid = 100\n": "group root",
	} {
		b := newBench(t, "virtual", virtualCF+maps)
		if res := one(t, b, mail.Route{}, "alice@x.test"); res.Outcome != mail.Deferred || res.Enhanced != "4.3.5" {
			t.Errorf("%s: %+v", why, res)
		}
	}
}

func TestLocalConforms(t *testing.T) {
	t.Parallel()
	b := newBench(t, "local", "alias_maps = inline:{ {known = away@other.test} }\nrecipient_delimiter = +\n")
	agenttest.Run(t, b, mail.Route{Transport: "local", Nexthop: "mx.test"}, "known@mx.test", "no-such-user@mx.test")
}

func TestAliases(t *testing.T) {
	t.Parallel()
	const route = "local"
	b := newBench(t, "local", `
recipient_delimiter = +
alias_maps = inline:{ {one = a@other.test} {many = a@other.test, two, b@other.test} {two = c@third.test}
  {circle = circle2} {circle2 = circle} {list = d@other.test} {owner-list = boss@mx.test} {cmd = "|/bin/cat"} }
allow_mail_to_commands =
`)
	for rcpt, want := range map[mail.Address]string{
		"one@mx.test":         "sent forwarded as NEWMSG -> a@other.test",
		"one+ext@mx.test":     "sent forwarded as NEWMSG -> a@other.test",
		"many@mx.test":        "sent forwarded as NEWMSG -> a@other.test c@third.test b@other.test",
		"list@mx.test":        "sent forwarded as NEWMSG -> d@other.test from owner-list@mx.test",
		"nobody-here@mx.test": "bounced unknown user: \"nobody-here\"",
		"cmd@mx.test":         "bounced mail to command is restricted",
		"postmaster@mx.test":  "sent discarded",
		"circle@mx.test":      "bounced recipient nesting limit exceeded",
	} {
		b.forwards = nil
		res := one(t, b, mail.Route{Transport: route, Nexthop: "mx.test"}, rcpt)
		got := res.Outcome.String() + " " + res.Text
		for _, f := range b.forwards {
			got += " ->"
			for _, r := range f.Recipients {
				got += " " + string(r.Address)
			}
			if f.Sender != "sender@example.org" {
				got += " from " + string(f.Sender)
			}
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", rcpt, got, want)
		}
	}
}
