package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
	"postroad/internal/testkit"
)

// server is what one server of the table can do.
type server struct {
	// starttls and require are what it offers, the latter in a TLS session, or
	// without one when plain is set.
	starttls, require, plain bool
	// other is a certificate that nobody vouches for.
	other bool
	// refuse, mail and greet replace replies; broken ends a handshake.
	refuse, mail, greet string
	broken              bool
}

// requireServers are the servers by address.
var requireServers = map[string]server{
	"127.0.0.1:7001": {}, "127.0.0.1:7002": {starttls: true, require: true}, "127.0.0.1:7003": {starttls: true},
	"127.0.0.1:7004": {starttls: true, require: true, other: true}, "127.0.0.1:7005": {starttls: true, other: true},
	"127.0.0.1:7006": {starttls: true, refuse: "454 4.7.0 not now"}, "127.0.0.1:7007": {starttls: true, broken: true},
	"127.0.0.1:7008": {starttls: true, refuse: "501 5.5.1 never"}, "127.0.0.1:7009": {require: true, plain: true},
	"127.0.0.1:7010": {starttls: true, require: true, mail: "451 4.3.0 later"}, "127.0.0.1:7011": {greet: "421 4.3.2 go away"},
	"127.0.0.1:7021": {}, "127.0.0.1:7022": {starttls: true, require: true},
	"/run/plain": {}, "/run/tls": {starttls: true, require: true},
}

// requireSites are the next hops by the name that the table gives them.
var requireSites = map[string]string{
	"plain": "[localhost]:7001", "rt": "[localhost]:7002", "nort": "[localhost]:7003", "self": "[localhost]:7004", "selfnort": "[localhost]:7005",
	"refuse": "[localhost]:7006", "brk": "[localhost]:7007", "refuse5": "[localhost]:7008", "plainrt": "[localhost]:7009",
	"mail4": "[localhost]:7010", "greet4": "[localhost]:7011", "ip": "[127.0.0.1]:7002",
	"multi": "[localhost]:7001,[localhost]:7003,[localhost]:7002", "multi2": "[localhost]:7003,[localhost]:7001",
	"dead": "[localhost]:7099", "dead2": "[localhost]:7001,[localhost]:7099", "dead3": "[localhost]:7099,[localhost]:7001",
	"lplain": "[localhost]:7021", "lrt": "[localhost]:7022", "lunix": "unix:/run/plain", "lunixtls": "unix:/run/tls",
}

// requireWorld has the certificates of the servers, and what clients said.
type requireWorld struct {
	*world
	good, bad tls.Certificate
	// ca is the file of the authority that vouches for good.
	ca string
	// dialled counts the connections.
	dialled int
}

func (w *requireWorld) dial(_ context.Context, network, address string, _ net.Addr) (net.Conn, error) {
	s, ok := requireServers[address]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	w.dialled++
	client, conn := net.Pipe()
	w.wg.Add(1)
	// goroutine: ends when the client closes.
	go func() {
		defer w.wg.Done()
		defer conn.Close()
		w.serve(conn, s)
	}()
	return client, nil
}

// serve plays the server.
func (w *requireWorld) serve(conn net.Conn, s server) {
	in, secure := bufio.NewReader(conn), false
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	if s.greet != "" {
		say("%s", s.greet)
		return
	}
	say("220 localhost ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "EHLO", "LHLO":
			say("250-sink.test")
			if s.starttls && !secure {
				say("250-STARTTLS")
			}
			if s.require && (secure || s.plain) {
				say("250-REQUIRETLS")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			if s.refuse != "" {
				say("%s", s.refuse)
				continue
			}
			say("220 go")
			if s.broken {
				in.ReadByte()
				return
			}
			cert := w.good
			if s.other {
				cert = w.bad
			}
			tc := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
			if tc.Handshake() != nil {
				return
			}
			conn, in, secure = tc, bufio.NewReader(tc), true
		case "MAIL":
			w.mu.Lock()
			w.data = append(w.data, strings.TrimSpace(line))
			w.mu.Unlock()
			if s.mail != "" {
				say("%s", s.mail)
				continue
			}
			say("250 2.1.0 ok")
		case "DATA":
			say("354 go")
			for line != ".\r\n" && err == nil {
				line, err = in.ReadString('\n')
			}
			say("250 2.0.0 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.1.5 ok")
		}
	}
}

// tableWithParents is a fakeMaps that patterns are no part of.
type tableWithParents struct{ fakeMaps }

func (t tableWithParents) FindParent(ctx context.Context, key string) (string, bool, error) {
	return t.Find(ctx, key)
}

// requirePolicies are the policies by the name that the table gives them.
var requirePolicies = map[string][]RequireItem{
	"enforce": {{Text: "enforce"}}, "opportunistic+starttls": {{Text: "opportunistic+starttls"}}, "opportunistic": {{Text: "Opportunistic"}},
	"disable": {{Text: "disable"}}, "bad": {{Text: "inline:{localhost=nonsense}", Table: tableWithParents{fakeMaps{"localhost": "nonsense"}}}},
	"nomatch": {{Text: "inline:{other=opportunistic}", Table: tableWithParents{fakeMaps{"other": "opportunistic"}}}},
	"error":   {{Text: "pcre:/nonexistent", Table: tableWithParents{fakeMaps{"localhost": "!", "127.0.0.1": "!", "h.test": "!"}}}},
}

// requireCase is a line of the table: what is asked, and what Postfix logged.
type requireCase struct{ mark, site, level, policy, want string }

// TestRequireTLS compares with testdata/requiretls.txt. Its lines are what a
// private Postfix 3.11.6 logged for one message each from a null sender, with
// smtp_tls_security_level, smtp_tls_verify_cert_match (other.test for "mismatch")
// and smtp_requiretls_policy set for the transport, no DNS, and scripted servers
// like those above on loopback. "required" is sendmail -O requiretls=yes,
// "optional" the header "TLS-Required: no". One line is left out: an address that a
// trusted certificate does not have is "not trusted" there, for want of a name.
func TestRequireTLS(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/requiretls.txt")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newRequireWorld(t)
		for line := range strings.Lines(string(text)) {
			what, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
			f := strings.Fields(what)
			w.try(t, requireCase{f[0], f[1], f[2], f[3], want})
		}
	})
}

func newRequireWorld(t *testing.T) *requireWorld {
	t.Helper()
	cert, key, err := testkit.SelfSignedPEM("localhost")
	if err != nil {
		t.Fatal(err)
	}
	w := &requireWorld{world: &world{t: t, hosts: map[string][]string{"localhost": {"127.0.0.1"}}}, good: mustPair(t, cert, key)}
	if w.bad, err = testkit.SelfSigned("localhost"); err != nil {
		t.Fatal(err)
	}
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(w.ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// setup is the configuration for one line of the table.
func (w *requireWorld) setup(c requireCase) Config {
	cfg := w.config()
	cfg.Dial = w.dial
	cfg.LMTP = c.site[0] == 'l'
	cfg.RequireTLS = requirePolicies[c.policy]
	cfg.Common.MyHostname, cfg.Common.RequireTLS, cfg.Common.TLSOptional = "h.test", true, true
	cfg.Settings.TLSLevel = c.level
	if c.level == "mismatch" {
		cfg.Settings.TLSLevel, cfg.Settings.TLSVerifyMatch = "verify", []string{"other.test"}
	}
	cfg.Settings.TLSCAfile = w.ca
	return cfg
}

// try makes one delivery.
func (w *requireWorld) try(t *testing.T, c requireCase) {
	d := w.delivery(requireSites[c.site], "u@x.test")
	d.Envelope.RequireTLS, d.Envelope.TLSOptional = c.mark == "required", c.mark != "none"
	w.data = nil
	client := w.client(w.setup(c))
	r := client.Deliver(t.Context(), d)[0]
	client.Close()
	w.wg.Wait()
	relay := r.Relay
	if relay == "" {
		relay = "none"
	}
	got := fmt.Sprintf("%s tls=%s %s %s (%s)", relay, r.TLS, r.Enhanced, r.Outcome, r.Text)
	if got != c.want {
		t.Errorf("%s %s %s %s\ngot  %s\nwant %s", c.mark, c.site, c.level, c.policy, got, c.want)
	}
	// What is promised in the log is said to the server.
	sent := len(w.data) > 0 && strings.HasSuffix(w.data[len(w.data)-1], " REQUIRETLS")
	promised := strings.HasSuffix(r.TLS, "/requiretls") || strings.HasSuffix(r.TLS, "/requiretls:nocertmatch") && r.Outcome.String() == "sent"
	if promised && !sent || sent && !strings.Contains(r.TLS, "/requiretls") {
		t.Errorf("%s %s %s %s: the server heard %q, the log says %s", c.mark, c.site, c.level, c.policy, w.data, r.TLS)
	}
}

// TestRequireTLSOld has a message that waited once, for which a failed handshake
// may be answered with plaintext.
func TestRequireTLSOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newRequireWorld(t)
		for policy, want := range map[string]string{
			"opportunistic":          "may:none/requiretls:none sent 2",
			"opportunistic+starttls": "may?/requiretls? deferred 1",
			"disable":                "may:none sent 2",
		} {
			d := w.delivery("[localhost]:7007", "u@x.test")
			d.Envelope.RequireTLS, d.Envelope.Arrived = true, d.Active.Add(-time.Hour)
			w.dialled = 0
			client := w.client(w.setup(requireCase{"required", "brk", "may", policy, ""}))
			r := client.Deliver(t.Context(), d)[0]
			client.Close()
			if got := fmt.Sprint(r.TLS, " ", r.Outcome, " ", w.dialled); got != want {
				t.Errorf("%s: %s, want %s", policy, got, want)
			}
		}
		// A server that cannot have the message for another reason is not the last.
		d := w.delivery("[localhost]:7002", "\u00fc@x.test")
		d.Envelope.RequireTLS, d.Envelope.SMTPUTF8 = true, true
		client := w.client(w.setup(requireCase{"required", "rt", "verify", "enforce", ""}))
		if r := client.Deliver(t.Context(), d)[0]; r.TLS+" "+r.Enhanced != "verify?/requiretls? 5.6.7" {
			t.Errorf("SMTPUTF8: %+v", r)
		}
		client.Close()
		w.wg.Wait()
	})
}

// TestRequireTLSApart: a connection that was opened under another rule about TLS is
// not used again, however well it suits.
func TestRequireTLSApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newRequireWorld(t)
		cfg := w.setup(requireCase{"", "rt", "verify", "opportunistic", ""})
		cfg.Settings.TLSConnectionReuse = true
		client := w.client(cfg)
		for _, tt := range []struct {
			mark      string
			connected int
			tls       string
		}{
			{"none", 1, "verify"}, {"required", 2, "verify/requiretls"}, {"optional", 3, "may"},
			{"required", 3, "verify/requiretls"}, {"optional", 3, "may"}, {"none", 3, "verify"},
		} {
			d := w.delivery("[localhost]:7002", "u@x.test")
			d.Envelope.RequireTLS, d.Envelope.TLSOptional = tt.mark == "required", tt.mark == "optional"
			d.Reuse = agent.Reuse{Load: true, Store: true}
			r := client.Deliver(t.Context(), d)[0]
			if r.TLS != tt.tls || w.dialled != tt.connected || r.Outcome != mail.Sent {
				t.Errorf("%s: %d connections, want %d; %+v", tt.mark, w.dialled, tt.connected, r)
			}
		}
		client.Close()
		w.wg.Wait()
	})
}

// TestRequireTLSDisabled: what is turned off in main.cf is not obeyed.
func TestRequireTLSDisabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newRequireWorld(t)
		for mark, want := range map[string]string{"required": "encrypt 2.0.0", "optional": "!encrypt 4.7.4"} {
			site := map[string]string{"required": "[localhost]:7003", "optional": "[localhost]:7001"}[mark]
			cfg := w.setup(requireCase{mark, "nort", "encrypt", "enforce", ""})
			cfg.Common.RequireTLS, cfg.Common.TLSOptional = false, false
			d := w.delivery(site, "u@x.test")
			d.Envelope.RequireTLS, d.Envelope.TLSOptional = mark == "required", mark == "optional"
			client := w.client(cfg)
			if r := client.Deliver(t.Context(), d)[0]; r.TLS+" "+r.Enhanced != want {
				t.Errorf("%s: %+v, want %s", mark, r, want)
			}
			client.Close()
		}
		w.wg.Wait()
	})
}

// TestRequirement looks policies up.
func TestRequirement(t *testing.T) {
	t.Parallel()
	table := RequireItem{Text: "inline:{...}", Table: tableWithParents{fakeMaps{"a.test": "disable", ".b.test": "opportunistic", "fail.test": "!", "odd.test": "x"}}}
	items := []RequireItem{table, {Text: "opportunistic+starttls"}, {Text: "enforce"}}
	tests := []struct {
		host  string
		items []RequireItem
		want  requirement
		err   error
	}{
		{"a.test", items, requireOff, nil},
		{"x.y.b.test", items, requireIfOffered, nil},
		{"b.test", items, requireStartTLS, nil},
		{"c.test", items[:1], requireAll, nil},
		{"c.test", nil, requireAll, nil},
		{"fail.test", items, requireAll, errRequirePolicy},
		{"odd.test", items, requireAll, errRequirePolicy},
		{"192.0.2.1", items, requireStartTLS, nil},
	}
	w := &world{t: t}
	for _, tt := range tests {
		cfg := w.config()
		cfg.RequireTLS = tt.items
		c := w.client(cfg)
		if got, err := c.requirement(t.Context(), tt.host); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v %v, want %v %v", tt.host, got, err, tt.want, tt.err)
		}
		c.Close()
	}
}
