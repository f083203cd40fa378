package access

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/dns"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// engine makes an Engine of the common configuration with settings.
func engine(t testing.TB, sets ...string) (*Engine, []string, *eventtest.Journal) {
	t.Helper()
	v := baseView(t)
	for _, s := range sets {
		kv := cutSetting(s)
		v = v.With(kv[0], kv[1])
	}
	e, problems, rec := build(t, v, nil)
	var texts []string
	for _, p := range problems {
		text := p.Text
		if p.Fatal {
			text = "fatal: " + text
		}
		if p.Suggestion != "" {
			text += "; " + p.Suggestion
		}
		texts = append(texts, text)
	}
	return e, texts, rec
}

// stranger is a request for a recipient of ours from nobody we know.
func stranger() *Request {
	return &Request{
		Session: &mail.Session{Client: mail.Peer{Name: "peer.test", ReverseName: "peer.test", Addr: netip.MustParseAddr("203.0.113.9")}},
		Helo:    "c.test", Sender: "a@good.test", HasSender: true, Recipient: "joe@example.com",
	}
}

func TestRelayProtection(t *testing.T) {
	t.Parallel()
	const missing = "fatal: in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions"
	for _, c := range []struct {
		safe bool
		sets []string
	}{
		{true, nil},
		{false, []string{"smtpd_relay_restrictions ="}},
		{false, []string{"smtpd_relay_restrictions = permit_mynetworks"}},
		{false, []string{"smtpd_relay_restrictions = permit_mynetworks, permit, reject"}},
		{false, []string{"smtpd_relay_restrictions = warn_if_reject reject"}},
		{false, []string{"smtpd_relay_restrictions = warn_if_reject reject_unauth_destination"}},
		{true, []string{"smtpd_relay_restrictions = warn_if_reject reject_unauth_destination, defer_unauth_destination"}},
		{true, []string{"smtpd_relay_restrictions =", "smtpd_recipient_restrictions = reject_unauth_destination"}},
		{true, []string{"smtpd_relay_restrictions =", "smtpd_recipient_restrictions = defer_if_permit"}},
		{true, []string{"smtpd_relay_restrictions = ours", "smtpd_restriction_classes = ours", "ours = Reject"}},
		{false, []string{"smtpd_relay_restrictions = ours", "smtpd_restriction_classes = ours", "ours = ours"}},
	} {
		e, problems, _ := engine(t, c.sets...)
		found := false
		for _, p := range problems {
			found = found || strings.HasPrefix(p, missing)
		}
		if found == c.safe || e.unsafe == c.safe {
			t.Errorf("%v: problems %v, unsafe %t", c.sets, problems, e.unsafe)
		}
		if c.safe {
			continue
		}
		// A configuration that should not run does not relay either.
		r := stranger()
		r.Recipient = "x@other.test"
		if v := e.Begin().Recipient(t.Context(), r); v.Status.Code != 451 || v.Rule == "" || v.List == "" {
			t.Errorf("%v: %+v", c.sets, v)
		}
	}
}

// TestWordsWithoutArgument makes sure that no word is passed over because its
// argument is missing, or because it is gone.
func TestWordsWithoutArgument(t *testing.T) {
	t.Parallel()
	n := 0
	for _, r := range rows() {
		if r.run == nil && r.name != warnIfReject && r.status == ready {
			t.Errorf("%s: nothing to run", r.name)
		}
		if r.arg == argNone && r.status == ready {
			continue
		}
		n++
		e, problems, rec := engine(t, "smtpd_recipient_restrictions = "+r.name)
		if len(problems) != 1 || !strings.Contains(problems[0], r.name) {
			t.Errorf("%s: problems %q", r.name, problems)
		}
		v := e.Begin().Recipient(t.Context(), stranger())
		if v.Action != mail.Reject || v.Status.String() != "451 4.3.5 Server configuration error" || v.Rule != r.name {
			t.Errorf("%s: %+v", r.name, v)
		}
		if log := rec.Take(); len(log) != 1 || !strings.Contains(log[0], r.name) {
			t.Errorf("%s: log %q", r.name, log)
		}
	}
	if n < 30 {
		t.Errorf("only %d words with an argument", n)
	}
}

func TestNoTwoRows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.name] || r.name != strings.ToLower(r.name) {
			t.Errorf("%s: twice or not in lower case", r.name)
		}
		seen[r.name] = true
	}
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"reject_unknown_sender_domian": "; did you mean reject_unknown_sender_domain?",
		"permit_mynetwork":             "; did you mean permit_mynetworks?",
		"reject_unath_destination":     "; did you mean reject_unauth_destination?",
		"something_else_entirely":      "",
	} {
		_, problems, _ := engine(t, "smtpd_client_restrictions = "+word)
		if want = fmt.Sprintf("smtpd_client_restrictions: unknown smtpd restriction: %q%s", word, want); len(problems) != 1 || problems[0] != want {
			t.Errorf("got %q, want %q", problems, want)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"check_client_access":                       "restriction check_client_access must be followed by type:table",
		"check_client_access, reject":               "restriction check_client_access must be followed by type:table",
		"sleep":                                     "restriction sleep must be followed by number",
		"check_policy_service":                      "restriction check_policy_service must be followed by transport:server",
		"check_policy_service nowhere":              "restriction check_policy_service must be followed by transport:server",
		"check_policy_service what:x":               "need service transport:endpoint",
		"check_policy_service {inet:h:1 timeout=x}": "timeout: bad time value or unit: x",
		"reject_rbl_client":                         "restriction reject_rbl_client requires domain name argument",
		"reject_rbl_client a=b":                     "RBL reply error: ",
		"check_client_access :nothing":              "open dictionary",
	} {
		e, problems, _ := engine(t, "smtpd_client_restrictions = "+list)
		if len(problems) == 0 || !strings.Contains(problems[0], want) {
			t.Errorf("%s: %q", list, problems)
		}
		if v := e.Begin().Recipient(t.Context(), stranger()); v.Status.Code != 451 {
			t.Errorf("%s: %+v", list, v)
		}
	}
}

func TestClassLoop(t *testing.T) {
	t.Parallel()
	for _, set := range []string{
		"smtpd_recipient_restrictions = round",
		"smtpd_recipient_restrictions = check_recipient_access inline:{joe@example.com=round}",
	} {
		e, _, _ := engine(t, "smtpd_restriction_classes = round, about", "round = about", "about = round", set)
		if v := e.Begin().Recipient(t.Context(), stranger()); v.Status.Code != 451 {
			t.Errorf("%s: %+v", set, v)
		}
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_client_restrictions = check_client_access inline:{{203.0.113.9=521 5.7.1 go away}}")
	if v := e.Begin().Recipient(t.Context(), stranger()); v.Action != mail.Disconnect || v.Key != "203.0.113.9" {
		t.Errorf("%+v", v)
	}
}

// TestHangup drops the connection: there is no reply.
func TestHangup(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_client_restrictions = check_client_access inline:{{203.0.113.9=HANGUP for good}}")
	if v := e.Begin().Recipient(t.Context(), stranger()); v.Action != mail.Hangup || v.Status.Code != 0 {
		t.Errorf("%+v", v)
	}
}

// TestTraceSays shows what a table said that decides nothing, and what a warning
// would have refused.
func TestTraceSays(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_recipient_restrictions = check_client_access inline:{{203.0.113.9=HOLD it}}, check_client_access inline:{203.0.113.9=DUNNO}, warn_if_reject reject, permit")
	c := e.Begin()
	var got []string
	c.Trace(func(s Step) {
		if s.List == "smtpd_recipient_restrictions" {
			got = append(got, fmt.Sprintf("%s|%s|%d", s.Result, s.Outcome, s.Status.Code))
		}
	})
	c.Recipient(t.Context(), stranger())
	if want := "HOLD it|action|0; DUNNO|no match|0; |warned|554; |permit|0"; strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestFamilyOf(t *testing.T) {
	t.Parallel()
	for protocols, want := range map[string]dns.Family{
		"all": dns.Any, "ipv4": dns.IPv4, "ipv6": dns.IPv6, "ipv4 ipv6": dns.Any, "ipv6 all": dns.Any,
	} {
		if got := familyOf(strings.Fields(protocols)); got != want {
			t.Errorf("%s: %v, want %v", protocols, got, want)
		}
	}
}

func TestLongReply(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_client_restrictions = check_client_access inline:{{203.0.113.9=REJECT "+strings.Repeat("x", 1000)+"}}")
	v := e.Begin().Recipient(t.Context(), stranger())
	if n := len(v.Status.String()); n != maxReply {
		t.Errorf("%d bytes: %s", n, v.Status)
	}
}

func TestLookupFailures(t *testing.T) {
	t.Parallel()
	for _, set := range []string{
		"smtpd_recipient_restrictions = reject_unlisted_recipient",
		"smtpd_recipient_restrictions = reject_unauth_destination",
		"smtpd_recipient_restrictions = permit_auth_destination",
		"smtpd_recipient_restrictions = check_recipient_access inline:{x=OK}",
		"smtpd_recipient_restrictions = reject_unknown_recipient_domain",
		"smtpd_sender_restrictions = check_sender_access inline:{x=OK}",
		"smtpd_sender_restrictions = reject_unlisted_sender",
		"smtpd_sender_restrictions = reject_unknown_sender_domain",
	} {
		e, _, _ := engine(t, "mydestination = fail:x", "smtpd_relay_restrictions = permit_mynetworks, reject", set)
		r := stranger()
		r.Session.Client.Addr = netip.MustParseAddr("192.0.2.1")
		v := e.Begin().Recipient(t.Context(), r)
		if v.Status.Code != 451 || v.Status.Enhanced != "4.3.0" || !strings.HasSuffix(v.Status.Text, ">: Temporary lookup failure") || v.Cause == nil {
			t.Errorf("%s: %+v", set, v)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	known := &mail.TLS{PeerPresent: true, Fingerprint: "AA:BB", KeyFingerprint: "CC:DD"}
	for _, c := range []struct {
		list string
		tls  *mail.TLS
		ok   bool
	}{
		{"reject_plaintext_session", nil, false},
		{"reject_plaintext_session", &mail.TLS{}, true},
		{"permit_tls_clientcerts, reject", nil, false},
		{"permit_tls_clientcerts, reject", &mail.TLS{}, false},
		{"permit_tls_clientcerts, reject", known, true},
		{"permit_tls_clientcerts, reject", &mail.TLS{PeerPresent: true, Fingerprint: "XX"}, false},
		{"permit_tls_all_clientcerts, reject", known, false},
		{"permit_tls_all_clientcerts, reject", &mail.TLS{PeerPresent: true, PeerTrusted: true}, true},
		{"check_ccert_access inline:{CC:DD=REJECT}", known, false},
		{"check_ccert_access inline:{CC:DD=REJECT}", &mail.TLS{}, true},
	} {
		e, _, _ := engine(t, "relay_clientcerts = inline:{CC:DD=x}", "smtpd_client_restrictions = "+c.list)
		r := stranger()
		r.Session.TLS = c.tls
		if v := e.Begin().Recipient(t.Context(), r); (v.Action != mail.Reject) != c.ok {
			t.Errorf("%s, %+v: %+v", c.list, c.tls, v)
		}
	}
}

// TestCertSearchOrder: which fingerprint of a client certificate comes first.
func TestCertSearchOrder(t *testing.T) {
	t.Parallel()
	const maps = "inline:{{AA=REJECT cert}, {BB=REJECT key}}"
	for set, want := range map[string]string{
		maps:               "cert",
		"{ " + maps + " }": "cert",
		"{ " + maps + ", { search_order = cert_fingerprint, pubkey_fingerprint } }": "cert",
		"{ " + maps + " { search_order = pubkey_fingerprint cert_fingerprint } }":   "key",
		"{ " + maps + ", { search_order = pubkey_fingerprint } }":                   "key",
		"{ " + maps + ", { search_order = name } }":                                 "Server configuration error",
		"{ " + maps + ", { order = cert_fingerprint } }":                            "Server configuration error",
	} {
		e, _, _ := engine(t, "smtpd_client_restrictions = check_ccert_access "+set)
		r := stranger()
		r.Session.TLS = &mail.TLS{PeerPresent: true, Fingerprint: "AA", KeyFingerprint: "BB"}
		if v := e.Begin().Recipient(context.Background(), r); !strings.HasSuffix(v.Status.Text, want) {
			t.Errorf("%s: %v, want %s", set, v.Status, want)
		}
	}
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_data_restrictions = reject_unauth_pipelining", "smtpd_recipient_restrictions = reject_unauth_pipelining")
	for _, c := range []struct {
		data, esmtp, ahead, ok bool
	}{
		{true, true, true, false}, {true, true, false, true}, {true, false, true, false},
		{false, true, true, true}, {false, false, true, false}, {false, false, false, true},
	} {
		r := stranger()
		r.Session.ESMTP = c.esmtp
		r.Pipelined = func() bool { return c.ahead }
		check := e.Begin().Recipient
		if c.data {
			check = e.Begin().Data
		}
		v := check(t.Context(), r)
		if (v.Action != mail.Reject) != c.ok || !c.ok && v.Status.Code != 503 {
			t.Errorf("%+v: %+v", c, v)
		}
	}
}

func TestRewriteContext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		clients, addr, login string
		want                 rewrite.Context
		fails                bool
	}{
		{"permit_inet_interfaces", "127.0.0.1", "", rewrite.Local, false},
		{"permit_inet_interfaces", "203.0.113.9", "", rewrite.Remote, false},
		{"permit_mynetworks", "192.0.2.1", "", rewrite.Local, false},
		{"permit_inet_interfaces, permit_sasl_authenticated", "203.0.113.9", "joe", rewrite.Local, false},
		{"check_address_map inline:{203.0.113.9=REJECT}", "203.0.113.9", "", rewrite.Local, false},
		{"check_address_map inline:{203.0.113.8=x}", "203.0.113.9", "", rewrite.Remote, false},
		{"check_address_map fail:x", "203.0.113.9", "", rewrite.Remote, true},
		{"static:all", "203.0.113.9", "", rewrite.Local, false},
		{"", "127.0.0.1", "", rewrite.Remote, false},
	} {
		e, _, _ := engine(t, "local_header_rewrite_clients = "+c.clients)
		r := stranger()
		r.Session.Client.Addr = netip.MustParseAddr(c.addr)
		if c.login != "" {
			r.Session.SASL = &mail.SASL{Username: c.login}
		}
		got, err := e.Begin().RewriteContext(t.Context(), r)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
}

func TestSleep(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_recipient_restrictions = sleep 7")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e.Begin().Recipient(t.Context(), stranger())
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("slept %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		e.Begin().Recipient(ctx, stranger())
		if d := time.Since(start); d != 0 {
			t.Errorf("slept %v after the client was gone", d)
		}
	})
}

// TestProbeSender makes sure that a probe of our probe address ends there.
func TestProbeSender(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_recipient_restrictions = reject")
	r := stranger()
	r.Recipient = "double-bounce@mx.example.com"
	if v := e.Begin().Recipient(t.Context(), r); v.Action != mail.Dunno {
		t.Errorf("%+v", v)
	}
}

func TestManySessions(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_recipient_restrictions = check_recipient_access inline:{{joe@example.com=HOLD}}, reject_unlisted_sender")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		// goroutine: ends after its requests.
		go func() {
			defer wg.Done()
			c := e.Begin()
			for range 50 {
				r := stranger()
				r.Sender = mail.Address(fmt.Sprintf("u%d@example.com", i))
				if v := c.Recipient(t.Context(), r); v.Status.Code != 550 {
					t.Errorf("%+v", v)
				}
				if !c.Actions().Hold {
					t.Error("not held")
				}
				c.ResetTransaction()
			}
		}()
	}
	wg.Wait()
}

func BenchmarkRecipient(b *testing.B) {
	e, _, _ := engine(b)
	c := e.Begin()
	r := stranger()
	b.ReportAllocs()
	for b.Loop() {
		if v := c.Recipient(b.Context(), r); v.Action == mail.Reject {
			b.Fatal(v)
		}
		c.ResetTransaction()
	}
}
