//go:build oracle

package tls

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// checked are the services of the checks.
var checked = []service{
	{"default", nil}, {"TLS 1.2", []string{"smtpd_tls_protocols = TLSv1.2"}},
	{"names", []string{"tls_server_sni_maps = inline:{{sni.test=%D/sni.pem},{.sub.test=%D/sni.pem}}"}},
	{"no ticket", []string{"tls_ssl_options = NO_TICKET, NO_COMPRESSION", "smtpd_tls_protocols = TLSv1.2"}},
	{"no time", []string{"smtpd_tls_session_cache_timeout = 0"}},
	{"ask", []string{"smtpd_tls_ask_ccert = yes", "smtpd_tls_CAfile = %D/root.pem"}},
	{"ask, depth 3", []string{"smtpd_tls_ask_ccert = yes", "smtpd_tls_CAfile = %D/root.pem", "smtpd_tls_ccert_verifydepth = 3"}},
	{"ask, depth 4", []string{"smtpd_tls_ask_ccert = yes", "smtpd_tls_CAfile = %D/root.pem", "smtpd_tls_ccert_verifydepth = 4", "smtpd_tls_loglevel = 2"}},
	{"ask, many authorities", []string{"smtpd_tls_ask_ccert = yes", "smtpd_tls_CAfile = %D/root.pem", "tls_append_default_CA = yes"}},
	{"ask, directory", []string{"smtpd_tls_ask_ccert = yes", "smtpd_tls_CApath = /nonexistent"}},
	{"require", []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_req_ccert = yes", "smtpd_tls_CAfile = %D/root.pem"}},
	{"require at may", []string{"smtpd_tls_req_ccert = yes", "smtpd_tls_CAfile = %D/root.pem"}},
	{"around", []string{"smtpd_tls_wrappermode = yes"}},
	{"broken files", []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_chain_files = /nonexistent"}},
	{"broken, no files", []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_chain_files ="}},
	{"broken grade", []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_mandatory_ciphers = best"}},
	{"broken authorities", []string{"smtpd_tls_CAfile = /nonexistent"}},
	{"preempt", []string{"tls_preempt_cipherlist = yes", "smtpd_tls_protocols = TLSv1.2"}},
}

// finding is what a check has found, in words to compare. A check that may find
// another thing in Postfix says what.
type finding struct {
	name string
	// ours and theirs are patterns of what is found; an empty theirs is the same.
	ours, theirs string
	find         func(t *testing.T, s *server, certs string) string
}

// checks are those of both servers.
var checks = []finding{
	{"chain is complete", "Verify return code: 0 .ok.", "", func(t *testing.T, s *server, certs string) string {
		return line(client(t, s.ports["default"], "QUIT\n", "-CAfile", filepath.Join(certs, "root.pem"), "-verify_hostname", "mx.test"), "Verify return code")
	}},
	{"chain is complete with RSA", "Verify return code: 0 .ok.", "", func(t *testing.T, s *server, certs string) string {
		return line(client(t, s.ports["default"], "QUIT\n", "-CAfile", filepath.Join(certs, "root.pem"), "-sigalgs", "RSA-PSS+SHA256"), "Verify return code")
	}},
	{"no OCSP", "no response sent", "", func(t *testing.T, s *server, _ string) string {
		return line(client(t, s.ports["default"], "QUIT\n", "-status"), "OCSP response")
	}},
	{"TLS around the session", "^220 mx.test", "", func(t *testing.T, s *server, _ string) string {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.ports["around"]), &tls.Config{InsecureSkipVerify: true})
		must(t, err)
		defer func() { _ = conn.Close() }()
		b := make([]byte, 100)
		n, err := conn.Read(b)
		must(t, err)
		return string(b[:n])
	}},
	{"no compression", "^method 0$", "", func(t *testing.T, s *server, _ string) string {
		h := hello{version: tls12, suites: suitesOf(t, tls12), deflate: true}
		return fmt.Sprintf("method %d", h.ask(t, s.ports["TLS 1.2"]).compression)
	}},
	{"no fallback", "^alert 86$", "", func(t *testing.T, s *server, _ string) string {
		h := hello{version: tls11, suites: append(suitesOf(t, tls11), 0x5600)} // RFC 7507
		return fmt.Sprintf("alert %d", h.ask(t, s.ports["default"]).alert)
	}},
	{"SSL 3 is refused", "^refused$", "", func(t *testing.T, s *server, _ string) string {
		h := hello{version: 0x0300, suites: suitesOf(t, tls11)}
		if a := h.ask(t, s.ports["default"]); !a.refused {
			return fmt.Sprintf("%+v", a)
		}
		return "refused"
	}},
	{"export, null, RC4, DES and MD5 are refused", "^refused$", "", func(t *testing.T, s *server, _ string) string {
		h := hello{version: tls12, suites: []uint16{0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0008, 0x0009, 0x000a, 0x0016, 0x003b, 0xc007, 0xc011, 0xc012}}
		if a := h.ask(t, s.ports["default"]); !a.refused {
			return fmt.Sprintf("%+v", a)
		}
		return "refused"
	}},
	{"suite without regard to the client's order", "^own order$", "^client's order$", order("default")},
	{"suite with tls_preempt_cipherlist", "^own order$", "", order("preempt")},
	{"no renegotiation", "^refused$", "", renegotiate},
	{"commands before the handshake", "^554 5.5.0", "^(554 5.5.0|nothing)", inject},
	// Postfix finds some of this out when a client begins TLS.
	{"TLS that is demanded and cannot be", "^STARTTLS 530 454, STARTTLS 530 454, STARTTLS 530 454, STARTTLS 250 454, $",
		"^STARTTLS 530 220, STARTTLS 530 454, STARTTLS 530 220, STARTTLS 250 454, $", trouble},
	{"resumption", "^TLSv1.3 resumed, TLSv1.2 resumed$", "", resume("default")},
	{"resumption with NO_TICKET", "^TLSv1.2 not$", "", resume("no ticket")},
	// In Postfix another program has the keys, which does not see this service.
	{"resumption without time", "^TLSv1.3 not, TLSv1.2 not$", "resumed", resume("no time")},
	{"certificates by name", "^mx.test mx.test sni.test sni.test mx.test mx.test $", "", func(t *testing.T, s *server, _ string) string {
		var out strings.Builder
		for _, name := range []string{"", "mx.test", "sni.test", "a.sub.test", "sub.test", "other.test"} {
			out.WriteString(shake(t, s.ports["names"], &tls.Config{InsecureSkipVerify: true, ServerName: name}).PeerCertificates[0].Subject.CommonName + " ")
		}
		return out.String()
	}},
	{"authorities that clients hear of", "^1 1 0 $", "", func(t *testing.T, s *server, _ string) string {
		var out strings.Builder
		for _, name := range []string{"ask", "ask, many authorities", "ask, directory"} {
			shake(t, s.ports[name], &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				fmt.Fprintf(&out, "%d ", len(r.AcceptableCAs))
				return &tls.Certificate{}, nil
			}})
		}
		return out.String()
	}},
	{"client certificates, asked", "^Trusted; ok. Trusted; ok. Untrusted; ok. Anonymous; ok. $", "", clientCerts("ask")},
	{"client certificates, a short chain", "^Trusted; ok. Untrusted; ok. Untrusted; ok. Anonymous; ok. $", "", clientCerts("ask, depth 3")},
	// A Postfix before 3.11 has other words for fingerprints.
	{"client certificates, told of", "^NAME: subject_CN=client.test, issuer=Between, cert fingerprint=FP, pkey fingerprint=FP; Trusted; ok. " +
		"NAME: subject_CN=deep.test, issuer=Deep 3, cert fingerprint=FP, pkey fingerprint=FP; Trusted; ok. " +
		"NAME: subject_CN=stranger.test, issuer=stranger.test, cert fingerprint=FP, pkey fingerprint=FP; Untrusted; ok. Anonymous; ok. $",
		"subject_CN=deep.test, issuer=Deep 3, .*Trusted; ok. NAME.*Untrusted; ok. Anonymous; ok. $", clientCerts("ask, depth 4")},
	{"client certificates, required", "^Trusted; ok. Trusted; ok. certificate verification failed for NAME: self-signed certificate; Untrusted; " +
		"NOQUEUE: abort: TLS from NAME: Client certificate not trusted; 421 4.7.1 mx.test Error: Client certificate not trusted. " +
		"Anonymous; NOQUEUE: abort: TLS from NAME: No client certificate presented; 421 4.7.1 mx.test Error: No client certificate presented. $", "", clientCerts("require")},
	{"client certificates, required where TLS is not", "^Anonymous; ok. Anonymous; ok. Anonymous; ok. Anonymous; ok. $", "", clientCerts("require at may")},
}

// TestChecks makes every check at both servers.
func TestChecks(t *testing.T) {
	certs := certificates(t)
	ports := testkit.FreePorts(t, 2*len(checked))
	found := map[string][]string{}
	t.Run("check", func(t *testing.T) {
		for i, name := range []string{"postfix", "postroad"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := start(t, name, certs, ports[i*len(checked):], checked)
				var out []string
				for _, c := range checks {
					out = append(out, c.find(t, s, certs))
				}
				found[name] = out
			})
		}
	})
	if t.Failed() {
		return
	}
	for i, c := range checks {
		theirs, ours := found["postfix"][i], found["postroad"][i]
		want := c.theirs
		if want == "" {
			want = c.ours
		}
		if !regexp.MustCompile(c.ours).MatchString(ours) || !regexp.MustCompile(want).MatchString(theirs) {
			t.Errorf("%s: want %s\nPostfix  %s\nPostroad %s", c.name, c.ours, theirs, ours)
		}
	}
}

// client is openssl(1) as an SMTP client: what it says.
func client(t *testing.T, port int, input string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	argv := append([]string{"s_client", "-starttls", "smtp", "-connect", fmt.Sprintf("127.0.0.1:%d", port)}, args...)
	cmd := exec.CommandContext(ctx, "openssl", argv...)
	cmd.Stdin = strings.NewReader(input)
	out, _ := cmd.CombinedOutput() // what it found is in its words
	return string(out)
}

// line is the first line with a text.
func line(text, with string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, with) {
			return strings.TrimSpace(l)
		}
	}
	return text
}

// suitesOf are the numbers of all suites of a version.
func suitesOf(t *testing.T, version uint16) []uint16 {
	t.Helper()
	var out []uint16
	for _, s := range allSuites(t) {
		if s.since13 == (version == tls13) {
			out = append(out, s.id)
		}
	}
	return out
}

// order asks with two suites in both orders.
func order(service string) func(*testing.T, *server, string) string {
	return func(t *testing.T, s *server, _ string) string {
		one := hello{version: tls12, suites: []uint16{0xc02b, 0xc02c}}
		two := hello{version: tls12, suites: []uint16{0xc02c, 0xc02b}}
		a, b := one.ask(t, s.ports[service]), two.ask(t, s.ports[service])
		switch {
		case a.refused || b.refused:
			return "refused"
		case a.suite == b.suite:
			return "own order"
		}
		return "client's order"
	}
}

// renegotiate lets openssl ask for another handshake within TLS 1.2. The letter
// for it must be a line of its own, when the first handshake is over.
func renegotiate(t *testing.T, s *server, _ string) string {
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-starttls", "smtp", "-connect", fmt.Sprintf("127.0.0.1:%d", s.ports["TLS 1.2"]))
	var out testkit.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	waitFor(t, func() bool {
		return strings.Contains(out.String(), "250 ") && strings.Contains(out.String(), "Verify return code")
	})
	_, err = io.WriteString(in, "R\n")
	must(t, err)
	waitFor(t, func() bool { return strings.Contains(out.String(), "RENEGOTIATING") })
	_, _ = io.WriteString(in, "\nNOOP\nQ\n") // it may have ended
	_ = in.Close()
	_ = cmd.Wait() // the same
	text := out.String()[strings.Index(out.String(), "RENEGOTIATING"):]
	if strings.Contains(text, "no renegotiation") || strings.Contains(text, "alert") {
		return "refused"
	}
	return text
}

// inject sends a command together with STARTTLS and tells what comes of it.
func inject(t *testing.T, s *server, _ string) string {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.ports["default"]))
	must(t, err)
	defer func() { _ = conn.Close() }()
	p := testkit.NewPlayer(conn, 20*time.Second)
	_, err = p.Read()
	must(t, err)
	must(t, p.Send("EHLO c.test"))
	_, err = p.Read()
	must(t, err)
	must(t, p.Send("STARTTLS\r\nRSET"))
	r, err := p.Read()
	must(t, err)
	if !strings.HasPrefix(r.String(), "220") {
		return r.String()
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	p = testkit.NewPlayer(c, 20*time.Second)
	must(t, p.Send("NOOP"))
	r, err = p.Read()
	must(t, err)
	must(t, p.Send("QUIT"))
	next, err := p.Read()
	must(t, err)
	if strings.HasPrefix(r.String(), "250") && strings.HasPrefix(next.String(), "221") {
		return "nothing"
	}
	return r.String() + next.String()
}

// trouble asks the services whose TLS cannot be set up.
func trouble(t *testing.T, s *server, _ string) string {
	var out strings.Builder
	for _, name := range []string{"broken files", "broken, no files", "broken grade", "broken authorities"} {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.ports[name]))
		must(t, err)
		p := testkit.NewPlayer(conn, 20*time.Second)
		_, err = p.Read()
		must(t, err)
		for _, command := range []string{"EHLO c.test", "MAIL FROM:<a@b.test>", "STARTTLS"} {
			must(t, p.Send(command))
			r, err := p.Read()
			must(t, err)
			switch {
			case command[0] != 'E':
				out.WriteString(" " + r.String()[:3])
			case strings.Contains(r.String(), "-STARTTLS"):
				out.WriteString("STARTTLS")
			}
		}
		out.WriteString(", ")
		_ = conn.Close()
	}
	return out.String()
}

// shake does a handshake by STARTTLS, asks for the greeting so that tickets arrive,
// and ends the session.
func shake(t *testing.T, port int, cfg *tls.Config) tls.ConnectionState {
	t.Helper()
	conn, _ := startTLS(t, port)
	defer func() { _ = conn.Close() }()
	c := tls.Client(conn, cfg)
	must(t, c.Handshake())
	p := testkit.NewPlayer(c, 20*time.Second)
	must(t, p.Send("QUIT"))
	_, err := p.Read()
	must(t, err)
	return c.ConnectionState()
}

// resume tells for each version whether a session can be resumed.
func resume(service string) func(*testing.T, *server, string) string {
	return func(t *testing.T, s *server, _ string) string {
		var out []string
		for _, version := range []uint16{tls13, tls12} {
			if service == "no ticket" && version == tls13 {
				continue
			}
			cfg := &tls.Config{
				InsecureSkipVerify: true, ServerName: "mx.test", MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1),
			}
			word := " not"
			for i := range 3 {
				if shake(t, s.ports[service], cfg).DidResume && i > 0 {
					word = " resumed"
				}
			}
			out = append(out, versionNames[version]+word)
		}
		return strings.Join(out, ", ")
	}
}

// clientCerts connects with a certificate that is good, with one that nobody
// knows, and with none: what the log says of each and what EHLO is answered.
func clientCerts(service string) func(*testing.T, *server, string) string {
	return func(t *testing.T, s *server, certs string) string {
		var out strings.Builder
		for _, file := range []string{"client.pem", "deep.pem", "stranger.pem", ""} {
			cfg := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls12}
			if file != "" {
				c, err := tls.LoadX509KeyPair(filepath.Join(certs, file), filepath.Join(certs, file))
				must(t, err)
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
			}
			waitFor(t, func() bool {
				return strings.Count(s.Log(0), "]: connect from") == strings.Count(s.Log(0), "]: disconnect from")
			})
			logged := len(s.Log(0))
			conn, _ := startTLS(t, s.ports[service])
			c := tls.Client(conn, cfg)
			said := "closed"
			if c.Handshake() == nil {
				p := testkit.NewPlayer(c, 20*time.Second)
				if p.Send("EHLO c.test") == nil {
					if r, err := p.Read(); err == nil {
						said = strings.TrimSpace(r.String())
						if strings.HasPrefix(said, "250") {
							said = "ok"
						}
					}
				}
			}
			// The port in the lines tells whose they are, as long as it is not had again.
			name := fmt.Sprintf("unknown[127.0.0.1]:%d", conn.LocalAddr().(*net.TCPAddr).Port)
			_ = conn.Close()
			waitFor(t, func() bool { return strings.Contains(s.Log(logged), "disconnect from "+name) })
			var own strings.Builder
			for l := range strings.Lines(s.Log(logged)) {
				if strings.Contains(l, name) {
					own.WriteString(strings.ReplaceAll(l, name, "NAME"))
				}
			}
			for _, m := range aboutCerts.FindAllStringSubmatch(own.String(), -1) {
				out.WriteString(m[1] + fingerprint.ReplaceAllString(m[2], "${1}FP") + "; ")
			}
			out.WriteString(said + ". ")
		}
		return out.String()
	}
}

// aboutCerts finds what the log says about the certificate of a client.
var aboutCerts = regexp.MustCompile(`(?:(\w+) TLS connection established|\]: ((?:NOQUEUE: abort: |certificate verification|\S+: subject_CN).*))`)

// fingerprint finds fingerprints, which are different in every run.
var fingerprint = regexp.MustCompile(`(fingerprint=)[0-9A-F:]+`)

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !testkit.Poll(ctx, 10*time.Millisecond, done) {
		t.Error("what is waited for does not happen")
	}
}
