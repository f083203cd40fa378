package smtpd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postroad/internal/mail"
	"postroad/internal/verify"
)

// TestProbeSender: an address from which we send probes is known without the time in
// it, as sender and as recipient.
func TestProbeSender(t *testing.T) {
	t.Parallel()
	srv, s := newServer(t, "address_verify_sender = probe@mx.test\naddress_verify_sender_ttl = 1h\nmynetworks = 192.0.2.0/24\n"+
		"smtpd_recipient_restrictions = check_sender_access inline:{probe@mx.test=OK}, reject\n")
	now := string(verify.Sender{Address: "probe@mx.test", TTL: time.Hour}.At(time.Now()))
	converse(t, srv, "HELO c.test\r\n", "MAIL FROM:<"+now+">\r\n", "RCPT TO:<"+now+">\r\n", "DATA\r\n", ".\r\n")
	if len(s.done) != 1 || !strings.HasPrefix(s.done[0], "<probe@mx.test> <probe@mx.test> ") {
		t.Errorf("queued %q", s.done)
	}
}

// TestInstance tells the transactions of a session apart, and from none.
func TestInstance(t *testing.T) {
	t.Parallel()
	srv, _ := newServer(t, "")
	ours, theirs := net.Pipe()
	_ = ours.Close()
	s := newSession(srv, theirs, srv.logger(1))
	s.ctx, s.access, s.serial.pid = context.Background(), srv.Access.Begin(), 77
	s.w.Reset(io.Discard)
	seen := map[string]bool{}
	for _, line := range []string{"HELO c.test", "MAIL FROM:<a@b.test>", "RSET", "MAIL FROM:<a@b.test>"} {
		s.dispatch([]byte(line))
		if name := s.req.Instance.String(); (name != "") != strings.HasPrefix(line, "MAIL") {
			t.Errorf("%s: instance %q", line, name)
		} else if name != "" && (seen[name] || s.req.Instance.PID != 77) {
			t.Errorf("%s: instance %q again", line, name)
		} else {
			seen[name] = true
		}
	}
}

// TestParentDomains: a domain stands for those below it in the lists that
// parent_domain_matches_subdomains names.
func TestParentDomains(t *testing.T) {
	t.Parallel()
	for names, want := range map[string]bool{"": false, "smtpd_client_event_limit_exceptions": true, "debug_peer_list": false} {
		srv, _ := newServer(t, "smtpd_client_event_limit_exceptions = b.test\nparent_domain_matches_subdomains = "+names+"\n")
		got, err := srv.Lists.RateExempt.MatchHost(t.Context(), "a.b.test", netip.MustParseAddr("192.0.2.1"))
		if got != want || err != nil {
			t.Errorf("%q: %t, %v", names, got, err)
		}
	}
}

// TestProxyRequireTLS: a filter hears nothing of REQUIRETLS, and the message carries
// it in a field of ours.
func TestProxyRequireTLS(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{"yes": "Subject: x\r\n" + tlsField + "\r\n", "no": "Subject: x\r\n"} {
		sink := startSink(t, "DOT 250 2.0.0 kept")
		srv, _ := newServer(t, "smtpd_proxy_filter = "+sink.Addr+"\nrequiretls_esmtp_header = "+field+"\n")
		srv.Scratch = t.TempDir()
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close() })
		s := newSession(srv, theirs, srv.logger(1))
		s.ctx, s.access = context.Background(), srv.Access.Begin()
		s.peer.TLS = &mail.TLS{Protocol: "TLSv1.3"}
		var out strings.Builder
		s.w.Reset(&out)
		s.r.Reset(strings.NewReader("Subject: x\r\n.\r\n"))
		for _, line := range []string{"EHLO c.test", "MAIL FROM:<a@b.test> REQUIRETLS", "RCPT TO:<joe@mx.test>", "DATA"} {
			s.dispatch([]byte(line))
		}
		if err := s.w.Flush(); err != nil || !strings.HasSuffix(out.String(), "250 2.0.0 kept\r\n") {
			t.Errorf("%v, %s", err, out.String())
		}
		for _, m := range sink.Messages() {
			if !strings.HasSuffix(m.Data, want) || strings.Contains(m.Data, tlsField) != (field == "yes") {
				t.Errorf("%s: the filter got %q", field, m.Data)
			}
		}
		if log := sink.Sessions(); len(log) == 0 || strings.Contains(strings.Join(log[0].Commands, "\n"), "REQUIRETLS") {
			t.Errorf("%s: the filter heard %q", field, log)
		}
	}
}

// TestOffersRequireTLS: only where it is wanted, within TLS, and not masked.
func TestOffersRequireTLS(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]bool{
		"": true, "requiretls_enable = no\n": false, "smtpd_discard_ehlo_keywords = requiretls\n": false,
	} {
		srv, _ := newServer(t, config)
		ours, theirs := net.Pipe()
		_ = ours.Close()
		s := newSession(srv, theirs, srv.logger(1))
		s.ctx = context.Background()
		s.findMask()
		if s.offersRequireTLS() {
			t.Errorf("%q: in clear", config)
		}
		s.peer.TLS = &mail.TLS{Protocol: "TLSv1.3"}
		if got := s.offersRequireTLS(); got != want {
			t.Errorf("%q: %t", config, got)
		}
	}
}

// TestStressIsTold: access control polls less under stress.
func TestStressIsTold(t *testing.T) {
	t.Parallel()
	srv, _ := newServer(t, "")
	ours, theirs := net.Pipe()
	_ = ours.Close()
	s := newSession(srv, theirs, srv.logger(1))
	for _, set := range []*Settings{srv.Settings, srv.Stress} {
		s.set = set
		s.stage("RCPT")
		if s.req.Stress != (set == srv.Stress) {
			t.Errorf("stress %t", s.req.Stress)
		}
	}
}
