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
)

// newUsers is a local(8) with two users who are this process, joe and ann; files
// are below their home directories.
func newUsers(t *testing.T, mainCF string, files map[string]string) *bench {
	t.Helper()
	b := newBench(t, "local", "recipient_delimiter = +\nhome_mailbox = Maildir/\n"+mainCF)
	var passwd string
	for _, name := range []string{"joe", "ann"} {
		home := filepath.Join(b.dir, name)
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, os.Geteuid(), os.Getegid(), home)
	}
	files["passwd"] = passwd
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	agent.SetPasswd(b.Agent, filepath.Join(b.dir, "passwd"))
	return b
}

// outcome is what came of a delivery, in a line.
func (b *bench) outcome(res mail.Result) string {
	var out []string
	for _, s := range res.Steps {
		out = append(out, fmt.Sprintf("%s %s", s.Recipient.Address.Local(), s.Result.Text))
	}
	if res.Steps == nil {
		out = append(out, res.Text)
	}
	for _, f := range b.forwards {
		line := string(f.Sender) + " ->"
		for _, r := range f.Recipients {
			line += " " + string(r.Address)
		}
		out = append(out, line+" via "+string(f.Delivered))
	}
	return res.Outcome.String() + ": " + strings.ReplaceAll(strings.Join(out, "; "), b.dir, "DIR")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	const maps = `alias_maps = inline:{ {both = joe, ann} {mine = joe} {joes.list = joe, joe, JOE+x@mx.test, ghost}
 {list = joe, far@other.test} {owner-list = ann} {loop = looper} {looper = loop, ann} {hers = ann, joe} }
`
	for name, test := range map[string]struct {
		conf, joe, ann string
		rcpt, want     string
	}{
		"mailbox":   {"", "", "", "joe+x", "sent: delivered to maildir"},
		"two":       {"", "", "", "both", "sent: joe delivered to maildir; ann delivered to maildir"},
		"other":     {"", "", "", "mine", "sent: joe delivered to maildir"},
		"dups":      {"", "", "", "joes.list", `bounced: joe delivered to maildir; JOE+x delivered to maildir; ghost unknown user: "ghost"`},
		"owner":     {"", "", "", "list", "sent: forwarded as NEWMSG; owner-list@mx.test -> joe@mx.test far@other.test via list@mx.test"},
		"circle":    {"", "", "", "loop", "bounced: looper recipient nesting limit exceeded; ann delivered to maildir"},
		"forward":   {"", `\joe, ann`, "", "joe", "sent: joe delivered to maildir; joe forwarded as NEWMSG; sender@example.org -> ann@mx.test via joe@mx.test"},
		"own name":  {"", "JOE@mx.test", "", "joe", "sent: JOE delivered to maildir"},
		"comments":  {"", "# none\n\n", "", "joe", "sent: delivered to maildir"},
		"both ways": {"", "ann", "joe", "hers", "sent: forwarded as NEWMSG; sender@example.org -> joe@mx.test ann@mx.test via hers@mx.test"},
		"file":      {"allow_mail_to_files =\n", "/tmp/file", "", "joe", "bounced: mail to file is restricted"},
		"extension": {"propagate_unmatched_extensions = forward\n", "ann", "", "joe+x", "sent: forwarded as NEWMSG; sender@example.org -> ann+x@mx.test via joe+x@mx.test"},
		"relay":     {"luser_relay = $user@other.test\n", "", "", "ghost+x", "sent: forwarded as NEWMSG; sender@example.org -> ghost@other.test via ghost+x@mx.test"},
		"spool":     {"home_mailbox =\nmail_spool_directory = DIR/\n", "", "", "joe", "sent: delivered to maildir"},
	} {
		b := newUsers(t, maps+test.conf, map[string]string{})
		for user, text := range map[string]string{"joe": test.joe, "ann": test.ann} {
			if text != "" {
				if err := os.WriteFile(filepath.Join(b.dir, user, ".forward"), []byte(text+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		res := one(t, b, mail.Route{Transport: "local", Nexthop: "mx.test"}, mail.Address(test.rcpt+"@mx.test"))
		if got := b.outcome(res); got != test.want {
			t.Errorf("%s: %s\nwant %s", name, got, test.want)
		}
	}
}

func TestLoopIsReportedToTheOwner(t *testing.T) {
	t.Parallel()
	b := newUsers(t, "alias_maps = inline:{ {list = joe} {owner-list = ann} }\n", map[string]string{})
	d := agenttest.Delivery(mail.Route{Transport: "local"}, "list@mx.test")
	d.Content = agenttest.Content("Delivered-To: LIST@mx.test\r\n\r\n")
	res := b.Deliver(context.Background(), d)[0]
	if res.Outcome != mail.Bounced || res.Enhanced != "5.4.6" || res.ReportTo != "owner-list@mx.test" {
		t.Errorf("%+v", res)
	}
}

func TestProbeDeliversNothing(t *testing.T) {
	t.Parallel()
	b := newUsers(t, "alias_maps = inline:{ {all = joe, far@other.test, ghost} }\n", map[string]string{})
	d := agenttest.Delivery(mail.Route{Transport: "local"}, "all@mx.test")
	d.Flags = agent.Verify
	want := `undeliverable: joe delivers to maildir; far forwards to far@other.test; ghost unknown user: "ghost"`
	if got := b.outcome(b.Deliver(context.Background(), d)[0]); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "joe", "Maildir")); err == nil {
		t.Error("a probe made a mailbox")
	}
}

func TestSuccessOfAnAlias(t *testing.T) {
	t.Parallel()
	b := newUsers(t, "alias_maps = inline:{ {all = joe, far@other.test} }\n", map[string]string{})
	d := agenttest.Delivery(mail.Route{Transport: "local"}, "all@mx.test")
	d.Recipients[0].Notify = mail.NotifySuccess
	res := b.Deliver(context.Background(), d)[0]
	last := res.Steps[len(res.Steps)-1]
	if !last.Unlogged || !last.Result.Expanded || last.Recipient.Notify != mail.NotifySuccess {
		t.Errorf("the expansion is not reported: %+v", last)
	}
	for _, r := range b.forwards[0].Recipients {
		if r.Notify != mail.NotifyNever {
			t.Errorf("%s inherits the wish for a report", r.Address)
		}
	}
}

func TestPass(t *testing.T) {
	t.Parallel()
	b := newUsers(t, "mailbox_transport_maps = inline:{ {joe = lmtp:unix:x} {lost = nowhere} {ann = local} }\nfallback_transport = lmtp:unix:y\n", map[string]string{})
	for rcpt, want := range map[string]string{
		"joe":  "deferred: joe busy at lmtp:unix:x",
		"lost": "deferred: mail transport unavailable",
		"who":  "deferred: who busy at lmtp:unix:y",
		"ann":  "deferred: ann mail system configuration error",
	} {
		res := one(t, b, mail.Route{Transport: "local"}, mail.Address(rcpt+"@mx.test"))
		if got := b.outcome(res); got != want {
			t.Errorf("%s: %s, want %s", rcpt, got, want)
		}
		if strings.Contains(want, "busy") && (res.Steps[0].Agent != "postfix/lmtp" || res.Steps[0].Result.Relay != "there") {
			t.Errorf("%s: %+v", rcpt, res.Steps)
		}
	}
}

func TestStatusFilter(t *testing.T) {
	t.Parallel()
	states := filepath.Join(t.TempDir(), "states")
	text := `/^5.1.1 unknown user: "ghost"/ 4.1.1 not yet
/^5.1.1 unknown user: "who"/ 2.0.0 fine
/^2.0.0 delivered to maildir/ 2.1.5 there
`
	if err := os.WriteFile(states, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newUsers(t, "alias_maps = inline:{ {all = joe, ghost} }\nlocal_delivery_status_filter = regexp:"+states+"\n", map[string]string{})
	for rcpt, want := range map[string]string{
		"joe":   "sent 2.1.5: there",
		"ghost": "deferred 4.1.1: not yet",
		"who":   `bounced 5.1.1: unknown user: "who"`,
		"all":   "deferred 4.1.1: joe there; ghost not yet",
	} {
		res := one(t, b, mail.Route{Transport: "local"}, mail.Address(rcpt+"@mx.test"))
		got := strings.Replace(b.outcome(res), ":", " "+res.Enhanced+":", 1)
		if got != want {
			t.Errorf("%s: %s, want %s", rcpt, got, want)
		}
	}
}
