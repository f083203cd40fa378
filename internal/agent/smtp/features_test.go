package smtp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
	"postroad/internal/testkit"
)

// fakeMaps is a Maps in memory; a value of "!" is a lookup error.
type fakeMaps map[string]string

func (m fakeMaps) Find(_ context.Context, key string) (string, bool, error) {
	v, ok := m[key]
	if v == "!" {
		return "", false, errors.New("table is out of order")
	}
	return v, ok, nil
}

// run delivers d in the world and returns the results in brief.
func (w *world) run(ctx context.Context, cfg Config, d *agent.Delivery) string {
	c := w.client(cfg)
	got := brief(c.Deliver(ctx, d))
	c.Close()
	w.wg.Wait()
	return got
}

const (
	rcptLine = "< RCPT TO:<b@example.test>"
	sentOK   = "0 sent 2.0.0 mx.test[192.0.2.1]:25 tls=%s (250 2.0.0 ok)"
)

// finish is the rest of a session after MAIL and RCPT were accepted.
var finish = []string{"> 354 go", "data", "> 250 2.0.0 ok"}

func TestParameters(t *testing.T) {
	t.Parallel()
	all := []string{"> 220 mx.test", "< EHLO c.test", "> 250-mx.test", "> 250-PIPELINING", "> 250-SIZE", "> 250-8BITMIME", "> 250-DSN", "> 250-SMTPUTF8",
		"> 250-AUTH PLAIN", "> 250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", "> 250 ENHANCEDSTATUSCODES"}
	bare := []string{"> 220 mx.test", "< EHLO c.test", "> 502 what", "< HELO c.test", "> 250 mx.test"}
	tests := []struct {
		name   string
		edit   func(*Config, *agent.Delivery)
		script []string
		want   string
	}{
		{"everything", func(c *Config, d *agent.Delivery) {
			d.Envelope.EnvID, d.Envelope.Ret, d.Envelope.SMTPUTF8, d.Envelope.EightBit = "e+20id", mail.RetHeaders, true, true
			d.Recipients[0].ORCPT, d.Recipients[0].Notify = "rfc822;o+2Br@x.test", mail.NotifySuccess|mail.NotifyDelay
			c.Settings.SendDummyMailAuth = true
		}, steps(all, "< MAIL FROM:<a@c.test> SIZE=21 BODY=8BITMIME ENVID=e+20id RET=HDRS SMTPUTF8 AUTH=<>",
			"< RCPT TO:<b@example.test> ORCPT=rfc822;o+2Br@x.test NOTIFY=SUCCESS,DELAY", "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT"), fmt.Sprintf(sentOK, "none")},
		{"nothing", func(c *Config, d *agent.Delivery) {
			d.Envelope.EnvID, d.Envelope.Ret = "e", mail.RetFull
			d.Recipients[0].ORCPT, d.Recipients[0].Notify = "rfc822;x", mail.NotifyNever
			d.Envelope.Sender = ""
		}, steps(bare, "< MAIL FROM:<>", "> 250 ok", rcptLine, "> 250 ok", "< DATA", finish, "< QUIT"), fmt.Sprintf(sentOK, "none")},
		{"original recipient", func(c *Config, d *agent.Delivery) {
			d.Recipients[0].Original, d.Recipients[0].Notify, d.Envelope.Ret = "o=x@y.test", mail.NotifyNever, mail.RetFull
		}, steps(all, "< MAIL FROM:<a@c.test> SIZE=21 RET=FULL", "< RCPT TO:<b@example.test> ORCPT=rfc822;o+3Dx@y.test NOTIFY=NEVER", "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT"),
			fmt.Sprintf(sentOK, "none")},
		{"xforward", func(c *Config, d *agent.Delivery) {
			c.Settings.SendXForward = true
			d.Envelope.Client = mail.ClientFacts{Name: "cl.test", Addr: "192.0.2.77", Port: "1234", Helo: "he lo", Proto: "ESMTP", RewriteContext: "remote"}
		}, steps(all, "< XFORWARD NAME=cl.test ADDR=192.0.2.77 PORT=1234", "< XFORWARD PROTO=ESMTP HELO=he+20lo IDENT=QID SOURCE=REMOTE",
			mailLine, rcptLine, "< DATA", "> 250 ok", "> 550 never mind", "> 250 ok", "> 250 ok", finish, "< QUIT"), fmt.Sprintf(sentOK, "none")},
		{"discarded keywords", func(c *Config, d *agent.Delivery) {
			c.Settings.DiscardKeywords = []string{"pipelining", "Size", "dsn"}
			d.Envelope.EnvID = "e"
		}, steps(all, "< MAIL FROM:<a@c.test>", "> 250 ok", rcptLine, "> 250 ok", "< DATA", finish, "< QUIT"), fmt.Sprintf(sentOK, "none")},
		{"injection", func(c *Config, d *agent.Delivery) {
			d.Envelope.Sender = "a\r\nRSET@c.test"
			c.Settings.QuoteEnvelope = false
		}, steps(all, "< MAIL FROM:<a??RSET@c.test> SIZE=21", rcptLine, "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT"), fmt.Sprintf(sentOK, "none")},
		{"too large", nil, steps("> 220 mx.test", "< EHLO c.test", "> 250-mx", "> 250-SIZE 20", "> 250 8BITMIME", "< QUIT"),
			"0 bounced 5.3.4 mx.test[192.0.2.1]:25 tls=none (message size 21 exceeds size limit 20 of server mx.test[192.0.2.1])"},
		{"needs SMTPUTF8", func(c *Config, d *agent.Delivery) { d.Envelope.SMTPUTF8, d.Envelope.Sender = true, "\u00e4@c.test" }, steps(hello, "< QUIT"),
			"0 bounced 5.6.7 mx.test[192.0.2.1]:25 tls=none? (message requires SMTPUTF8, but no server was found that supports SMTPUTF8. The last attempted server was mx.test[192.0.2.1])"},
		{"SMTPUTF8 not really needed", func(c *Config, d *agent.Delivery) { d.Envelope.SMTPUTF8 = true },
			steps(hello, mailLine, rcptLine, "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT"), fmt.Sprintf(sentOK, "none")},
		{"probe", func(c *Config, d *agent.Delivery) { d.Flags = agent.Verify }, steps(hello, mailLine, rcptLine, "> 250 ok", "> 250 2.1.5 fine", "< RSET", "< QUIT"),
			"0 deliverable 2.1.5 mx.test[192.0.2.1]:25 tls=none (250 2.1.5 fine)"},
		{"probe refused", func(c *Config, d *agent.Delivery) { d.Flags = agent.Verify }, steps(hello, mailLine, rcptLine, "> 250 ok", "> 550 5.1.1 no", "< RSET", "< QUIT"),
			"0 undeliverable 5.1.1 mx.test[192.0.2.1]:25 tls=none (host mx.test[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command))"},
		{"probe at DATA", func(c *Config, d *agent.Delivery) { d.Flags, c.Settings.AddressVerifyTarget = agent.Verify, "data" },
			steps(hello, mailLine, rcptLine, "< DATA", "> 250 ok", "> 250 fine", "> 354 go", "end"),
			"0 deliverable 2.0.0 mx.test[192.0.2.1]:25 tls=none (354 go)"},
		{"QUIT is answered, not the dot", nil, steps(hello, mailLine, rcptLine, "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data", "> 221 bye"),
			"0 deferred 4.4.2 mx.test[192.0.2.1]:25 tls=none SITE (lost connection with mx.test[192.0.2.1] while sending end of data -- message may be sent more than once)"},
		{"success where it makes no sense", nil, steps(hello, mailLine, rcptLine, "< DATA", "> 250 ok", "> 250 ok", "> 250 ok", "< RSET", "< QUIT"),
			"0 bounced 5.5.0 mx.test[192.0.2.1]:25 tls=none (Protocol error: host mx.test[192.0.2.1] said: 250 ok (in reply to DATA command))"},
		{"354 to RCPT", nil, steps(hello, mailLine, rcptLine, "< DATA", "> 250 ok", "> 354 what", "> 503 no", "< RSET", "< QUIT"),
			"0 bounced 5.5.0 mx.test[192.0.2.1]:25 tls=none (host mx.test[192.0.2.1] said: 354 what (in reply to RCPT TO command))"},
		{"garbage before the reply", nil, steps(hello, mailLine, rcptLine, "< DATA", "> 250 ok", "> garbage line", "> 550 5.1.1 after garbage", "> 503 no", "< RSET", "< QUIT"),
			"0 bounced 5.1.1 mx.test[192.0.2.1]:25 tls=none (host mx.test[192.0.2.1] said: garbage line 550 5.1.1 after garbage (in reply to RCPT TO command))"},
		{"it is me", nil, steps("> 220 hi", "< EHLO c.test", "> 250-C.test hello", "> 250 SIZE", "< QUIT"),
			"0 bounced 5.4.6 mx.test[192.0.2.1]:25 tls=none? (mail for example.test loops back to myself)"},
		{"content cannot be read", func(c *Config, d *agent.Delivery) {
			d.Content = textContent{text: "x\r\n", without: true, readErr: errors.New("disk")}
		}, steps(hello, "< MAIL FROM:<a@c.test> SIZE=3", rcptLine, "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data"),
			"0 deferred 4.3.0 mx.test[192.0.2.1]:25 tls=none SITE (local data error while talking to mx.test[192.0.2.1])"},
		{"refused while sending", func(c *Config, d *agent.Delivery) {
			d.Content = textContent{text: strings.Repeat("0123456789abcde\r\n", 10000)}
		}, steps(hello, "< MAIL FROM:<a@c.test> SIZE=170000", rcptLine, "< DATA", "> 250 ok", "> 250 ok", "raw 354 go\r\n552 5.3.4 too much\r\n", "drop"),
			"0 bounced 5.3.4 mx.test[192.0.2.1]:25 tls=none (host mx.test[192.0.2.1] said: 552 5.3.4 too much (in reply to end of DATA command))"},
		{"stall while sending", func(c *Config, d *agent.Delivery) {
			d.Content = textContent{text: strings.Repeat("0123456789abcde\r\n", 10000)}
		}, steps(hello, "< MAIL FROM:<a@c.test> SIZE=170000", rcptLine, "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "wait 1h", "drop"),
			"0 deferred 4.4.2 mx.test[192.0.2.1]:25 tls=none SITE (conversation with mx.test[192.0.2.1] timed out while sending message body)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := one(t, tt.script)
				cfg, d := w.config(), w.delivery("example.test", "b@example.test")
				if tt.edit != nil {
					tt.edit(&cfg, d)
				}
				if got := w.run(t.Context(), cfg, d); got != tt.want {
					t.Errorf("got  %s\nwant %s\nlog %q", got, tt.want, w.log.Lines())
				}
			})
		})
	}
}

func TestLMTP(t *testing.T) {
	t.Parallel()
	greet := []string{"> 220 lmtp", "< LHLO c.test", "> 250-lmtp", "> 250 PIPELINING"}
	rcpts := []string{"< RCPT TO:<a@x.test>", "< RCPT TO:<b@x.test>", "< RCPT TO:<c@x.test>"}
	tests := []struct {
		name, nexthop, address string
		script                 []string
		want                   string
	}{
		{"a reply for each", "unix:private/lmtp", "/q/private/lmtp", steps(greet, "< MAIL FROM:<a@c.test>", rcpts, "< DATA", "> 250 ok", "> 250 ok", "> 550 5.1.1 no", "> 250 ok",
			"> 354 go", "data", "> 250 2.0.0 <a> saved", "> 452 4.2.2 <c> over quota", "< QUIT"),
			`0 sent 2.0.0 c.test[private/lmtp] tls=none (250 2.0.0 <a> saved)
1 bounced 5.1.1 c.test[private/lmtp] tls=none (host c.test[private/lmtp] said: 550 5.1.1 no (in reply to RCPT TO command))
2 deferred 4.2.2 c.test[private/lmtp] tls=none (host c.test[private/lmtp] said: 452 4.2.2 <c> over quota (in reply to end of DATA command))`},
		{"connection lost among the replies", "inet:mx.test", "192.0.2.1:24", steps(greet, "< MAIL FROM:<a@c.test>", rcpts, "< DATA", "> 250 ok", "> 250 ok", "> 250 ok", "> 250 ok",
			"> 354 go", "data", "> 250 2.0.0 <a> saved", "drop"),
			`0 sent 2.0.0 mx.test[192.0.2.1]:24 tls=none (250 2.0.0 <a> saved)
1 deferred 4.4.2 mx.test[192.0.2.1]:24 tls=none SITE (lost connection with mx.test[192.0.2.1] while sending end of data -- message may be sent more than once)
2 deferred 4.4.2 mx.test[192.0.2.1]:24 tls=none SITE (lost connection with mx.test[192.0.2.1] while sending end of data -- message may be sent more than once)`},
		{"no socket", "unix:/abs/gone", "/abs/gone", nil,
			`0 deferred 4.4.1 none tls=none? SITE (connect to c.test[/abs/gone]: Connection refused)
1 deferred 4.4.1 none tls=none? SITE (connect to c.test[/abs/gone]: Connection refused)
2 deferred 4.4.1 none tls=none? SITE (connect to c.test[/abs/gone]: Connection refused)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := one(t)
				if tt.script != nil {
					w.scripts[tt.address] = [][]string{tt.script}
				}
				cfg := w.config()
				cfg.LMTP, cfg.Settings.TCPPort, cfg.Common.QueueDir = true, "24", "/q"
				d := w.delivery(tt.nexthop, "a@x.test", "b@x.test", "c@x.test")
				if got := w.run(t.Context(), cfg, d); got != tt.want {
					t.Errorf("got\n%s\nwant\n%s", got, tt.want)
				}
				if len(w.dialled) != 1 || w.dialled[0] != tt.address {
					t.Errorf("dialled %v", w.dialled)
				}
			})
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	offer := []string{"> 220 hi", "< EHLO c.test", "> 250-mx.test", "> 250-STARTTLS", "> 250 PIPELINING", "< STARTTLS"}
	inside := steps("> 220 go", "tls", "< EHLO c.test", "> 250-mx.test", "> 250 PIPELINING", "< MAIL FROM:<a@c.test>", rcptLine, "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT")
	plain := steps("< MAIL FROM:<a@c.test>", rcptLine, "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT")
	deferred := "0 deferred %s mx.test[192.0.2.1]:25 tls=%s SITE (%s)"
	tests := []struct {
		name, level string
		policy      string
		old         bool // the message waited once
		scripts     [][]string
		want        string
	}{
		{"may", "may", "", false, [][]string{steps(offer, inside)}, fmt.Sprintf(sentOK, "may")},
		{"encrypt", "encrypt", "", false, [][]string{steps(offer, inside)}, fmt.Sprintf(sentOK, "encrypt")},
		{"none", "none", "", false, [][]string{steps(offer[:5], plain)}, fmt.Sprintf(sentOK, "none")},
		{"not offered", "may", "", false, [][]string{steps(hello, mailLine, plain[1:])}, fmt.Sprintf(sentOK, "may:none")},
		{"required, not offered", "encrypt", "", false, [][]string{steps(hello, "< QUIT")},
			fmt.Sprintf(deferred, "4.7.4", "!encrypt", "TLS is required, but was not offered by host mx.test[192.0.2.1]")},
		{"required, refused", "encrypt", "", false, [][]string{steps(offer, "> 454 4.7.0 not now", "< QUIT")},
			fmt.Sprintf(deferred, "4.7.0", "!encrypt", "TLS is required, but host mx.test[192.0.2.1] refused to start TLS: 454 4.7.0 not now")},
		{"may, refused", "may", "", false, [][]string{steps(offer, "> 454 4.7.0 not now", plain)}, fmt.Sprintf(sentOK, "may:none")},
		{"handshake fails", "may", "", false, [][]string{steps(offer, "> 220 go", "brk")}, fmt.Sprintf(deferred, "4.7.5", "may?", "Cannot start TLS: handshake failure")},
		{"handshake fails, second attempt", "may", "", true, [][]string{steps(offer, "> 220 go", "brk"), steps(offer[:5], plain)}, fmt.Sprintf(sentOK, "may:none")},
		{"handshake fails, required", "encrypt", "", true, [][]string{steps(offer, "> 220 go", "brk")}, fmt.Sprintf(deferred, "4.7.5", "encrypt?", "Cannot start TLS: handshake failure")},
		{"replies ahead of the handshake", "may", "", false, [][]string{steps(offer, "raw 220 go\r\n250 AUTH\r\n", "brk")}, fmt.Sprintf(deferred, "4.7.5", "may?", "Cannot start TLS: handshake failure")},
		{"verify", "verify", "", false, [][]string{steps(offer, "> 220 go", "tls", "stall")}, fmt.Sprintf(deferred, "4.7.5", "!verify", "Server certificate not verified")},
		{"fingerprint", "none", "FINGER", false, [][]string{steps(offer, inside)}, fmt.Sprintf(sentOK, "fingerprint")},
		{"wrong fingerprint", "none", "fingerprint match=AA:BB", false, [][]string{steps(offer, "> 220 go", "tls", "stall")}, fmt.Sprintf(deferred, "4.7.5", "!fingerprint", "Server certificate not verified")},
		{"policy says none", "encrypt", "none", false, [][]string{steps(offer[:5], plain)}, fmt.Sprintf(sentOK, "none")},
		{"policy makes no sense", "may", "nonsense", false, nil, "0 deferred 4.7.5 none tls=unknown? SITE (client TLS configuration problem)"},
		{"policy table fails", "may", "!", false, nil, "0 deferred 4.7.5 none tls=unknown? SITE (client TLS configuration problem)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := one(t, tt.scripts...)
				var err error
				if w.cert, err = testkit.SelfSigned("mx.test"); err != nil {
					t.Fatal(err)
				}
				cfg := w.config()
				cfg.Settings.TLSLevel = tt.level
				switch tt.policy {
				case "":
				case "FINGER":
					sum := sha256.Sum256(w.cert.Certificate[0])
					cfg.TLSPolicy = fakeMaps{"example.test": "fingerprint match=" + strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")}
				default:
					cfg.TLSPolicy = fakeMaps{".test": tt.policy}
				}
				d := w.delivery("example.test", "b@example.test")
				if tt.old {
					d.Envelope.Arrived = d.Active.Add(-time.Hour)
				}
				if got := w.run(t.Context(), cfg, d); got != tt.want {
					t.Errorf("got  %s\nwant %s\nlog %q", got, tt.want, w.log.Lines())
				}
			})
		})
	}
}

// TestVerified trusts the server's own certificate as an authority.
func TestVerified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cert, key, err := testkit.SelfSignedPEM("mx.test")
		if err != nil {
			t.Fatal(err)
		}
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, cert, 0o600); err != nil {
			t.Fatal(err)
		}
		for level, want := range map[string]string{
			"verify": fmt.Sprintf(sentOK, "verify"),
			"secure": "0 deferred 4.7.5 mx.test[192.0.2.1]:25 tls=!secure SITE (Server certificate not verified)",
		} {
			script := []string{"> 220 hi", "< EHLO c.test", "> 250-mx.test", "> 250 STARTTLS", "< STARTTLS", "> 220 go", "tls"}
			if level == "verify" {
				script = steps(script, "< EHLO c.test", "> 250 mx.test", "< MAIL FROM:<a@c.test>", "> 250 ok", rcptLine, "> 250 ok", "< DATA", finish, "< QUIT")
			}
			w := one(t, script)
			w.cert = mustPair(t, cert, key)
			cfg := w.config()
			cfg.Settings.TLSLevel, cfg.Settings.TLSCAfile, cfg.Settings.TLSLogLevel = level, ca, "1"
			if got := w.run(t.Context(), cfg, w.delivery("example.test", "b@example.test")); got != want {
				t.Errorf("%s: got  %s\nwant %s\nlog %q", level, got, want, w.log.Lines())
			}
			if !strings.HasPrefix(w.log.Lines()[0], map[string]string{"verify": "Verified", "secure": "Trusted"}[level]+" TLS connection established to mx.test[192.0.2.1]:25: TLSv1.3 with cipher TLS_") {
				t.Errorf("%s: log %q", level, w.log.Lines())
			}
		}
	})
}

func TestSASL(t *testing.T) {
	t.Parallel()
	greet := func(mechs string) []string {
		return []string{"> 220 hi", "< EHLO c.test", "> 250-mx.test", "> 250-AUTH " + mechs, "> 250 PIPELINING"}
	}
	rest := steps("< MAIL FROM:<a@c.test>", rcptLine, "< DATA", "> 250 ok", "> 250 ok", finish, "< QUIT")
	failed := "0 %s mx.test[192.0.2.1]:25 tls=none%s (SASL authentication failed; %s)"
	tests := []struct {
		name      string
		edit      func(*Config)
		passwords fakeMaps
		script    []string
		want      string
	}{
		{"PLAIN", nil, fakeMaps{"example.test": "user:pass:word"}, steps(greet("LOGIN PLAIN"), "< AUTH PLAIN AHVzZXIAcGFzczp3b3Jk", "> 235 ok", rest), fmt.Sprintf(sentOK, "none")},
		{"LOGIN", nil, fakeMaps{"mx.test": "user:pw", "example.test": "other:x"}, steps(greet("LOGIN"), "< AUTH LOGIN", "> 334 VXNlcm5hbWU6", "< dXNlcg==", "> 334 UGFzc3dvcmQ6", "< cHc=", "> 235 ok", rest), fmt.Sprintf(sentOK, "none")},
		{"CRAM-MD5", func(c *Config) { c.Settings.SASLSecurityOptions = []string{"noplaintext", "noanonymous"} }, fakeMaps{"mx.test": "tim:tanstaaftanstaaf"},
			steps(greet("PLAIN CRAM-MD5"), "< AUTH CRAM-MD5", "> 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+", "< dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "> 235 ok", rest), fmt.Sprintf(sentOK, "none")},
		{"no password", nil, fakeMaps{}, steps(greet("PLAIN"), rest), fmt.Sprintf(sentOK, "none")},
		{"refused", nil, fakeMaps{"mx.test": "u:p"}, steps(greet("PLAIN"), "< AUTH PLAIN AHUAcA==", "> 535 5.7.8 wrong", "< QUIT"), fmt.Sprintf(failed, "deferred 4.7.8", "? SITE", "server mx.test[192.0.2.1] said: 535 5.7.8 wrong")},
		{"refused, hard", func(c *Config) { c.Settings.SASLSoftBounce = false }, fakeMaps{"mx.test": "u:p"}, steps(greet("PLAIN"), "< AUTH PLAIN AHUAcA==", "> 535 5.7.8 wrong", "< QUIT"),
			fmt.Sprintf(failed, "bounced 5.7.8", "?", "server mx.test[192.0.2.1] said: 535 5.7.8 wrong")},
		{"no plaintext", func(c *Config) { c.Settings.SASLSecurityOptions = []string{"noplaintext"} }, fakeMaps{"mx.test": "u:p"}, steps(greet("PLAIN LOGIN"), "< QUIT"),
			fmt.Sprintf(failed, "deferred 4.7.0", "? SITE", "cannot authenticate to server mx.test[192.0.2.1]: no mechanism available")},
		{"filter", func(c *Config) { c.Settings.SASLMechanismFilter = []string{"!plain", "static:all"} }, fakeMaps{"mx.test": "u:p"}, steps(greet("PLAIN LOGIN"), "< AUTH LOGIN", "> 535 no", "< QUIT"),
			fmt.Sprintf(failed, "deferred 4.0.0", "? SITE", "server mx.test[192.0.2.1] said: 535 no")},
		{"table fails", nil, fakeMaps{"mx.test": "!"}, greet("PLAIN"), "0 deferred 4.3.0 mx.test[192.0.2.1]:25 tls=none? SITE (local data error while talking to mx.test[192.0.2.1])"},
		{"by sender", func(c *Config) { c.Settings.SASLSenderDependent = true }, fakeMaps{"a@c.test": "u:p", "mx.test": "!"}, steps(greet("PLAIN"), "< AUTH PLAIN AHUAcA==", "> 235 ok", rest), fmt.Sprintf(sentOK, "none")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := one(t, tt.script)
				cfg := w.config()
				cfg.Settings.SASLEnable, cfg.Passwords = true, tt.passwords
				if tt.edit != nil {
					tt.edit(&cfg)
				}
				want := strings.Replace(tt.want, "tls=none?", "tls=none", 1)
				if got := w.run(t.Context(), cfg, w.delivery("example.test", "b@example.test")); got != want {
					t.Errorf("got  %s\nwant %s\nlog %q", got, want, w.log.Lines())
				}
			})
		})
	}
}

func TestNoWorkForEver(t *testing.T) {
	t.Parallel()
	// One byte at a time, just in time for each read: the reply has a deadline
	// of its own.
	synctest.Test(t, func(t *testing.T) {
		var drip []string
		for range 100 {
			drip = append(drip, "raw x", "wait 290s")
		}
		w := one(t, drip)
		got := w.run(t.Context(), w.config(), w.delivery("example.test", "b@example.test"))
		if !strings.Contains(got, "timed out while receiving the initial server greeting") {
			t.Error(got)
		}
	})
}

// TestAllocations holds the price of a delivery over a warm connection.
func TestAllocations(t *testing.T) {
	w := &world{}
	c, err := New(Config{Settings: testSettings(), Common: testCommon(), Resolver: w})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := benchDelivery(sink(t), 4096, true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := testing.AllocsPerRun(200, func() {
		if r := c.Deliver(ctx, d); r[0].Outcome != mail.Sent {
			t.Fatal(r)
		}
	})
	if n > 30 {
		t.Errorf("%v allocations per delivery", n)
	}
}

func TestSourceAddress(t *testing.T) {
	t.Parallel()
	c := &Client{Config: Config{Settings: Settings{BindAddress: "192.0.2.5"}, Source4: netip.MustParseAddr("192.0.2.6"), Source6: netip.MustParseAddr("2001:db8::6")}}
	for to, want := range map[string]string{"192.0.2.1": "192.0.2.5:0", "2001:db8::1": "[2001:db8::6]:0"} {
		if got := c.source(netip.MustParseAddr(to)); got == nil || got.String() != want {
			t.Errorf("to %s from %v, want %s", to, got, want)
		}
	}
}

// panicMaps is a table that breaks.
type panicMaps struct{}

func (panicMaps) Find(context.Context, string) (string, bool, error) { panic("broken") }

// TestPanic holds invariant 1 against the worst.
func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := one(t, []string{"> 220 hi", "< EHLO c.test", "> 250-mx.test", "> 250 AUTH PLAIN", "stall"})
		cfg := w.config()
		cfg.Settings.SASLEnable, cfg.Passwords = true, panicMaps{}
		got := w.run(t.Context(), cfg, w.delivery("example.test", "b@example.test", "c@example.test"))
		want := "0 deferred 4.3.0 none tls=none (unknown mail transport error)\n1 deferred 4.3.0 none tls=none (unknown mail transport error)"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
