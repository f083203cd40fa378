package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/cli"
	"postroad/internal/mail"
	"postroad/internal/postconf"
)

const explainMain = `compatibility_level = 3.11
myhostname = mx.example.test
mydestination = example.test
mynetworks = 127.0.0.0/8
local_recipient_maps =
queue_directory = DIR
virtual_alias_maps = inline:{ {info@example.test=alice@example.test, bob@remote.test} }
canonical_maps = inline:{ old@example.test=info@example.test }
smtp_tls_policy_maps = inline:{ remote.test=verify }
smtpd_sender_restrictions = check_sender_access inline:{ {bad.test=REJECT go away} }
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, strict
smtpd_restriction_classes = strict
strict = check_recipient_access inline:{ old@example.test=HOLD }
`

const explainMaster = `smtp inet n - n - - smtpd
submission inet n - n - - smtpd -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
probing inet n - n - - smtpd -o smtpd_recipient_restrictions=reject_unverified_recipient
unprobed inet n - n - - smtpd -o smtpd_recipient_restrictions=reject_unverified_recipient -o address_verify_service_name=none
verify unix - - n - 1 verify
smtp unix - - n - - smtp
local unix - n n - - local
`

// flat is an explanation in few lines.
func flat(x *cli.Explanation) string {
	var b strings.Builder
	for _, r := range x.Recipients {
		for _, s := range r.Steps {
			if s.Outcome != "no match" {
				fmt.Fprintf(&b, "%d %s[%d] %s:%d %s: %s %s", s.Depth, s.List, s.Index, filepath.Base(s.File), s.Line, s.Rule, s.Outcome, s.Reply)
				if s.Result != "" {
					fmt.Fprintf(&b, "(%s: %s)", s.Key, s.Result)
				}
				b.WriteString("\n")
			}
		}
		fmt.Fprintf(&b, "%v %s\n", r.Accepted, r.Reply)
		for _, e := range r.Ends {
			fmt.Fprintf(&b, "%s -> %s %s %s %s %s\n", r.Rewritten, e.Address, e.Class, e.Program, e.Nexthop, e.TLS)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": explainMain, "master.cf": explainMaster} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	tests := []struct {
		name, service, client, sender, rcpt, want string
	}{
		{"accepted", "", "192.0.2.7", "a@other.test", "old@example.test", `2 strict[0] main.cf:13 check_recipient_access inline:{ old@example.test=HOLD }: action (old@example.test: HOLD)
true 250 2.1.5 Ok (held)
info@example.test -> alice@example.test local local mx.example.test
info@example.test -> bob@remote.test default smtp remote.test verify`},
		{"relaying", "", "192.0.2.7", "a@other.test", "x@elsewhere.test",
			`1 smtpd_relay_restrictions[2] built-in default:0 defer_unauth_destination: reject 454 4.7.1 <x@elsewhere.test>: Relay access denied
false 454 4.7.1 <x@elsewhere.test>: Relay access denied (at RCPT)`},
		{"ours", "", "127.0.0.1", "a@other.test", "x@elsewhere.test", `1 smtpd_relay_restrictions[0] built-in default:0 permit_mynetworks: permit
1 smtpd_recipient_restrictions[0] main.cf:11 permit_mynetworks: permit
true 250 2.1.5 Ok
x@elsewhere.test -> x@elsewhere.test default smtp elsewhere.test may`},
		{"sender", "", "127.0.0.1", "a@bad.test", "x@example.test",
			`1 smtpd_sender_restrictions[0] main.cf:10 check_sender_access inline:{ {bad.test=REJECT go away} }: reject 554 5.7.1 <a@bad.test>: Sender address rejected: go away(bad.test: REJECT go away)
false 554 5.7.1 <a@bad.test>: Sender address rejected: go away (at RCPT)`},
		{"another service", "submission", "192.0.2.7", "a@other.test", "x@example.test",
			`1 smtpd_recipient_restrictions[1] master.cf:2 reject: reject 554 5.7.1 <x@example.test>: Recipient address rejected: Access denied
false 554 5.7.1 <x@example.test>: Recipient address rejected: Access denied (at RCPT)`},
		{"a probe", "probing", "192.0.2.7", "a@other.test", "x@example.test", `1 smtpd_recipient_restrictions[0] master.cf:3 reject_unverified_recipient: not asked
true 250 2.1.5 Ok
x@example.test -> x@example.test local local mx.example.test`},
		{"no verify service", "unprobed", "192.0.2.7", "a@other.test", "x@example.test",
			`1 smtpd_recipient_restrictions[0] master.cf:4 reject_unverified_recipient: deferred 450 4.1.1 <x@example.test>: Recipient address rejected: address verification problem
false 450 4.1.1 <x@example.test>: Recipient address rejected: address verification problem (at RCPT)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, err := explain(context.Background(), cfg, &cli.Question{
				Service: tt.service, ClientName: "client.test", ClientAddr: netip.MustParseAddr(tt.client), Helo: "client.test",
				Sender: mail.Address(tt.sender), Recipients: []mail.Address{mail.Address(tt.rcpt)},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := flat(x)
			var lines []string
			for line := range strings.Lines(got) {
				lines = append(lines, strings.TrimRight(line, " \n"))
			}
			if got = strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	if _, err := explain(context.Background(), cfg, &cli.Question{Service: "nosuch", ClientName: "x", Recipients: []mail.Address{"a@b"}}); err == nil {
		t.Error("a service that does not exist is explained")
	}
}
