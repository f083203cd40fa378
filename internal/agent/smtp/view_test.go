package smtp

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/dns"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// view is main.cf text as a View.
func view(t *testing.T, mainCF string) *postconf.View {
	t.Helper()
	c, problems := postconf.Parse(t.TempDir(), []byte(mainCF), nil, postconf.LoadOptions{Hostname: "c.test", WithoutMaster: true, Quiet: true})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	return c.View(nil)
}

// TestDefaults checks that main.cf reaches the settings, with the defaults of
// Postfix 3.11 and the lmtp_ names for LMTP.
func TestDefaults(t *testing.T) {
	t.Parallel()
	const set = "compatibility_level = 3.11\nmyhostname = c.test\nlmtp_mail_timeout = 7s\nsmtp_mail_timeout = 8s\nlmtp_lhlo_name = l.test\nsmtp_tls_policy_maps = inline:{a.test=none}\n"
	for _, lmtp := range []bool{false, true} {
		w := &world{t: t}
		c, problems := FromView(view(t, set), lmtp, Deps{Tables: table.NewSet(table.Options{}), Resolver: w, Log: w.logger()})
		if c == nil {
			t.Fatal(problems)
		}
		s := &c.Settings
		got := fmt.Sprintln(s.MailTimeout, s.HeloName, s.ConnectTimeout, s.TCPPort, c.level, s.HostLookup, c.TLSPolicy != nil, s.SkipQuitResponse, s.LineLengthLimit)
		want := "8s c.test 30s smtp may [dns] true true 998\n"
		if lmtp {
			want = "7s l.test 0s 24 none [dns] false false 998\n"
		}
		if got != want {
			t.Errorf("lmtp=%v: %s, want %s", lmtp, got, want)
		}
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"smtp_tls_security_level = nonsense", "smtp_tls_security_level = may\nsmtp_tls_protocols = SSLv9", "smtp_fallback_relay = [x",
		"smtp_tls_security_level = may\nsmtp_tls_CAfile = /does/not/exist", "smtp_mx_session_limit = x",
	} {
		w := &world{t: t}
		if c, problems := FromView(view(t, "myhostname = c.test\n"+text+"\n"), false, Deps{Tables: table.NewSet(table.Options{}), Resolver: w}); c != nil || !postconf.HasFatal(problems) {
			t.Errorf("%s: taken, %v", text, problems)
		}
	}
}

// TestManyRecipients sends more commands than fit into one batch, over real
// sockets.
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	to := sink(t)
	c := w.client(Config{Settings: testSettings(), Common: testCommon(), Resolver: w})
	defer c.Close()
	d := benchDelivery(to, 4096, true)
	d.Recipients = nil
	for i := range 3000 {
		d.Recipients = append(d.Recipients, mail.Recipient{Address: mail.Address(fmt.Sprintf("recipient-%d@example.test", i))})
	}
	for range 2 {
		results := c.Deliver(t.Context(), d)
		if len(results) != 3000 {
			t.Fatalf("%d results", len(results))
		}
		for _, r := range results {
			if r.Outcome != mail.Sent {
				t.Fatalf("%+v", r)
			}
		}
	}
}

// TestUnixSocket delivers over a real UNIX-domain socket below the queue
// directory, and finds the text for a socket that is not there.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "lmtp"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// goroutine: ends with its connection.
	go func() {
		if c, err := l.Accept(); err == nil {
			sinkSession(c)
		}
	}()
	w := &world{t: t}
	cfg := Config{Settings: testSettings(), Common: testCommon(), Resolver: w, LMTP: true}
	cfg.Common.QueueDir = dir
	cfg.Settings.HeloName = "c.test"
	c := w.client(cfg)
	d := w.delivery("unix:lmtp", "b@example.test")
	if got := brief(c.Deliver(t.Context(), d)); got != "0 sent 2.0.0 c.test[lmtp] tls=none (250 2.0.0 Ok: queued as SINK)" {
		t.Error(got)
	}
	d.Route.Nexthop = "unix:gone"
	if got := brief(c.Deliver(t.Context(), d)); got != "0 deferred 4.4.1 none tls=none? SITE (connect to c.test[gone]: No such file or directory)" {
		t.Error(got)
	}
	c.Close()
}

// TestReset checks a server that resets the connection after the final dot.
func TestReset(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// goroutine: ends with its connection.
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w := &world{t: t}
		c.(*net.TCPConn).SetLinger(0)
		w.play(c, "reset", steps("> 220 hi", "< EHLO c.test", "> 250 x", "< MAIL FROM:<a@c.test>", "> 250 ok", "< RCPT TO:<b@example.test>", "> 250 ok", "< DATA", "> 354 go", "data", "drop"))
		c.Close()
	}()
	w := &world{t: t}
	c := w.client(Config{Settings: testSettings(), Common: testCommon(), Resolver: w})
	got := brief(c.Deliver(t.Context(), w.delivery("[127.0.0.1]:"+strings.TrimPrefix(l.Addr().String(), "127.0.0.1:"), "b@example.test")))
	if !strings.Contains(got, "(lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)") {
		t.Error(got)
	}
}

// TestBadName shows a next hop that is no name to our own resolver.
func TestBadName(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r := dns.New(dns.Config{HostsPath: filepath.Join(t.TempDir(), "none")})
	w := &world{t: t}
	c := w.client(Config{Settings: testSettings(), Common: testCommon(), Resolver: r})
	d := w.delivery("a_b.-test", "b@example.test")
	if got := brief(c.Deliver(ctx, d)); got != "0 bounced 5.4.4 none tls= (Name service error for a_b.-test: invalid host or domain name)" {
		t.Error(got)
	}
}
