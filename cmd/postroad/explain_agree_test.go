package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postroad/internal/cli"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/smtpd"
	"postroad/internal/table"
	"postroad/internal/testkit"
)

// configs are more configurations to compare with: directories below it.
var configs = flag.String("configs", "", "directory of configuration directories in which explanations are compared with sessions, too")

const agreeMain = `compatibility_level = 3.11
myhostname = mx.example.test
mydestination = example.test
mynetworks = 127.0.0.0/8
alias_maps = inline:{ postmaster=x }
local_recipient_maps = inline:{ alice=x, bob=x, held=x }
relay_domains = relay.test
relay_recipient_maps = inline:{ known@relay.test=x }
queue_directory = DIR
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = postroad
smtpd_sasl_path = inline:{ alice={PLAIN}x }
smtpd_sender_login_maps = inline:{ alice@example.test=alice }
smtpd_reject_unlisted_sender = yes
virtual_alias_maps = inline:{ info@example.test=alice@example.test }
smtpd_client_restrictions = check_client_access inline:{ 192.0.2.9=REJECT, {192.0.2.10=450 4.7.0 later} }
smtpd_helo_restrictions = reject_invalid_helo_hostname, check_helo_access inline:{ bad.test=DEFER_IF_PERMIT }
smtpd_sender_restrictions = reject_non_fqdn_sender, reject_authenticated_sender_login_mismatch, check_sender_access inline:{ spam.test=REJECT, warn.test=WARN }
smtpd_recipient_restrictions = warn_if_reject reject_non_fqdn_recipient, check_recipient_access inline:{ held@example.test=HOLD }, strict, reject_unauth_destination
smtpd_restriction_classes = strict
strict = check_sender_access inline:{ {strict.test=reject_unlisted_recipient, reject} }
`

const agreeMaster = `smtp inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
submission inet n - n - - smtpd
  -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject } -o smtpd_helo_required=yes
early inet n - n - - smtpd -o smtpd_delay_reject=no -o smtpd_helo_required=yes
smtps inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
filtered inet n - n - - smtpd -o smtpd_command_filter=pcre:DIR/commands
elsewhere inet n - n - - smtpd -o mydestination=elsewhere.test
broken inet n - n - - smtpd -o smtpd_command_filter=pcre:DIR/gone
smtp unix - - n - - smtp
local unix - n n - - local
`

// agreeCommands is smtpd_command_filter: other addresses, other names, and what is no
// address.
const agreeCommands = `/^EHLO bad(.*)/ HELO good$1
/^EHLO *$/ NOOP
/^(MAIL FROM:<)y@strict(.*)/ ${1}x@spam$2 SIZE=10
/^RCPT TO:<held@(.*)/ rcpt  to: <alice@$1
/^RCPT TO:<no@.*/ RCPT TO:alice bob
`

// TestExplainAgrees asks what would happen, and lets it happen: the reply that is
// foretold is the reply that a session gets.
func TestExplainAgrees(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": agreeMain, "master.cf": agreeMaster, "commands": agreeCommands} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{dir}
	if *configs != "" {
		more, err := filepath.Glob(filepath.Join(*configs, "*", "master.cf"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range more {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			cfg := withoutServers(t, dir)
			if cfg == nil {
				return
			}
			// The configurations of others may have certificates that are not here.
			if compared, refused := agree(t, cfg); dir == dirs[0] && (refused == 0 || compared == refused) {
				t.Errorf("%d replies compared, %d of them refusals", compared, refused)
			}
		})
	}
}

// tcpTable is a table of a server. Nobody is there to answer, and a lookup tries for
// ten seconds; a table that fails at once says the same.
var tcpTable = regexp.MustCompile(`\btcp:[^\s,]+`)

// withoutServers reads a configuration; nil when it is not a whole one.
func withoutServers(t *testing.T, dir string) *postconf.Config {
	t.Helper()
	var text [2][]byte
	for i, name := range [...]string{"main.cf", "master.cf"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Logf("%v", err)
			return nil
		}
		text[i] = tcpTable.ReplaceAll(data, []byte("fail:nobody"))
	}
	cfg, problems := postconf.Parse(dir, text[0], text[1], postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Logf("%s is not a whole configuration: %v", dir, problems)
		return nil
	}
	return cfg
}

// agree compares every service of a configuration.
func agree(t *testing.T, cfg *postconf.Config) (compared, refused int) {
	t.Helper()
	ctx := context.Background()
	for _, svc := range cfg.Active() {
		if svc.Program() != "smtpd" {
			continue
		}
		p := newProbe(t, cfg, svc)
		if p == nil {
			continue
		}
		own := cfg.View(svc)
		domains, _ := own.List("mydestination")
		domain := "example.test"
		if len(domains) > 0 && !strings.ContainsAny(domains[0], ":/") {
			domain = domains[0]
		}
		for n, client := range []string{"127.0.0.1", "192.0.2.7", "192.0.2.9", "192.0.2.10", "198.51.100.1"} {
			for m, helo := range []string{"client.test", "bad.test", ""} {
				q := &cli.Question{
					Service: svc.Name, ClientName: "client.test", ClientAddr: netip.MustParseAddr(client), Helo: helo,
					Sender: mail.Address([]string{"a@other.test", "x@spam.test", "nobody@" + domain, "alice@" + domain, "y@strict.test", ""}[(n+m*2)%6]),
				}
				if n == 1 && m != 1 {
					q.User = "alice"
				}
				for _, rcpt := range []string{"alice", "nobody@" + domain, "held@" + domain, "x@elsewhere.test", "known@relay.test", "no@relay.test", "info@" + domain} {
					q.Recipients = append(q.Recipients, mail.Address(rcpt))
				}
				x, err := explain(ctx, cfg, q)
				if err != nil {
					t.Fatalf("%s: %v", svc.ID(), err)
				}
				for i, r := range x.Recipients {
					if strings.Contains(fmt.Sprint(r.Steps), "not asked") {
						continue // a policy server decides
					}
					said := p.rcpt(t, q, q.Recipients[i])
					foretold, _, _ := strings.Cut(r.Reply, " (")
					compared++
					if !r.Accepted {
						refused++
					}
					if said != foretold {
						t.Errorf("%s, client %s, helo %q, user %q, from <%s> to <%s>\nforetold %s\nsession  %s", svc.ID(), client, helo, q.User, q.Sender, r.Recipient, foretold, said)
					}
				}
			}
		}
	}
	t.Logf("%d replies compared, %d of them refusals", compared, refused)
	return compared, refused
}

// probe is an SMTP server that believes who its client says that it is.
type probe struct{ srv *smtpd.Server }

type everybody struct{}

func (everybody) MatchHost(context.Context, string, netip.Addr) (bool, error) { return true, nil }

// otherCommands are smtpd_command_filter for all commands but that by which the test
// says who the client is.
type otherCommands struct{ table.Table }

func (t otherCommands) Lookup(ctx context.Context, key string) (string, bool, error) {
	if strings.HasPrefix(key, "XCLIENT ") {
		return "", false, nil
	}
	return t.Table.Lookup(ctx, key)
}

// newProbe builds the server of a service; nil when it cannot be built.
func newProbe(t *testing.T, cfg *postconf.Config, svc *postconf.Service) *probe {
	t.Helper()
	log, err := event.OpenLog(event.LogOptions{File: "/dev/stdout", Stdout: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	rt := &master.Runtime{Log: log, Folded: true, Open: os.Open}
	s := &server{rt: rt, rates: smtpd.NewRates()}
	if s.resolver, err = dns.FromResolvConf("/etc/resolv.conf"); err != nil {
		t.Fatal(err)
	}
	b := &builder{rt: rt, resolver: s.resolver, users: &privdeliver.Users{}, spool: &notebook{}}
	gen, err := b.build(&master.Generation{Number: 1, Config: cfg})
	if err != nil {
		t.Logf("%s: %v", svc.ID(), err)
		return nil
	}
	t.Cleanup(gen.close)
	s.gen.Store(gen)
	srv, err := s.smtpd(gen, svc)
	if err != nil {
		t.Logf("%s: %v", svc.ID(), err)
		return nil
	}
	if srv.Settings.TLSWrapper || srv.Settings.UpstreamProxy != "" {
		return nil // what comes before the greeting is not spoken here
	}
	srv.Space, srv.Names, srv.Lists.Xclient = nil, nil, everybody{}
	srv.Settings.ErrorSleep, srv.Settings.HardErrorLimit = 0, 1000
	srv.Lists.Filters, srv.Settings.ProxyFilter = smtpd.Filters{}, "" // nobody is there
	if t := srv.Lists.Commands; t != nil {
		srv.Lists.Commands = otherCommands{t}
	}
	return &probe{srv}
}

// rcpt makes a session of a question and returns the reply to one recipient, or to
// what was refused before.
func (p *probe) rcpt(t *testing.T, q *cli.Question, rcpt mail.Address) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	// goroutine: the session; ends when the client closes.
	go func() { defer close(done); p.srv.ServeConn(context.Background(), theirs) }()
	defer func() { _ = ours.Close(); <-done }()
	c := testkit.NewPlayer(ours, 30*time.Second)
	read := func() string {
		r, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(strings.ReplaceAll(r.String(), "\n", " "))
	}
	read()
	login := q.User
	if login == "" {
		login = "[UNAVAILABLE]"
	}
	commands := []string{fmt.Sprintf("XCLIENT NAME=%s ADDR=%s LOGIN=%s", q.ClientName, q.ClientAddr, login)}
	if q.Helo != "" {
		commands = append(commands, "EHLO "+q.Helo)
	}
	for _, line := range append(commands, "MAIL FROM:<"+string(q.Sender)+">", "RCPT TO:<"+string(rcpt)+">") {
		if err := c.Send(line); err != nil {
			t.Fatal(err)
		}
		if said := read(); said[0] > '3' || strings.HasPrefix(line, "RCPT") {
			return said
		}
	}
	return ""
}
