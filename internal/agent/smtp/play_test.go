package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postroad/internal/agent"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
)

// world is the Internet of a test: names, and a script per connection to each
// address. A script is a list of steps:
//
//	"> text"   send a line                "< text"  expect a line
//	"data"     read up to the final dot   "drop"    close the connection
//	"stall"    wait until the client goes "wait 5s" let time pass
//	"raw text" send without line end       "tls"     TLS handshake as the server
//	"brk"      take the ClientHello, then close
type world struct {
	t       *testing.T
	mx      map[string][]dns.MXRecord
	hosts   map[string][]string
	errs    map[string]error
	scripts map[string][][]string
	mu      sync.Mutex
	dialled []string
	data    []string
	log     eventtest.Journal
	wg      sync.WaitGroup
	cert    tls.Certificate
}

func (w *world) MX(_ context.Context, domain string) ([]dns.MXRecord, dns.Info, error) {
	if err := w.errs["MX "+domain]; err != nil {
		return nil, dns.Info{}, err
	}
	if mx, ok := w.mx[domain]; ok {
		return mx, dns.Info{}, nil
	}
	return nil, dns.Info{}, &dns.Error{Kind: dns.NotFound, Name: domain, Type: "MX", Text: "Host not found"}
}

func (w *world) Addrs(_ context.Context, host string, f dns.Family) ([]netip.Addr, dns.Info, error) {
	if err := w.errs["A "+host]; err != nil {
		return nil, dns.Info{}, err
	}
	var out []netip.Addr
	for _, h := range w.hosts[host] {
		a := netip.MustParseAddr(h)
		if f == dns.Any || (f == dns.IPv4) == a.Is4() {
			out = append(out, a)
		}
	}
	if out == nil {
		return nil, dns.Info{}, &dns.Error{Kind: dns.NotFound, Name: host, Type: "A", Text: "Host not found"}
	}
	return out, dns.Info{}, nil
}

func (w *world) Native(ctx context.Context, host string, f dns.Family) ([]netip.Addr, error) {
	a, _, err := w.Addrs(ctx, host, f)
	return a, err
}

// dial is the Dialer of the world.
func (w *world) dial(_ context.Context, network, address string, _ net.Addr) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialled = append(w.dialled, address)
	list := w.scripts[address]
	if len(list) == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	script := list[0]
	w.scripts[address] = list[1:]
	if len(script) == 1 && strings.HasPrefix(script[0], "errno ") {
		var n int
		fmt.Sscan(script[0][6:], &n)
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.Errno(n)}
	}
	client, server := net.Pipe()
	w.wg.Add(1)
	// goroutine: ends with the script or when the client closes.
	go func() {
		defer w.wg.Done()
		defer server.Close()
		w.play(server, address, script)
	}()
	return client, nil
}

func (w *world) play(c net.Conn, address string, script []string) {
	in := bufio.NewReader(c)
	for i, step := range script {
		word, arg, _ := strings.Cut(step, " ")
		switch word {
		case ">":
			if _, err := io.WriteString(c, arg+"\r\n"); err != nil {
				w.t.Errorf("%s step %d %q: %v", address, i, step, err)
				return
			}
		case "raw":
			io.WriteString(c, arg)
		case "<":
			line, err := in.ReadString('\n')
			if strings.TrimRight(line, "\r\n") != arg {
				w.t.Errorf("%s step %d: client said %q (%v), want %q", address, i, line, err, arg)
				return
			}
		case "data":
			var b strings.Builder
			for {
				line, err := in.ReadString('\n')
				b.WriteString(line)
				if err != nil || line == ".\r\n" {
					break
				}
			}
			w.mu.Lock()
			w.data = append(w.data, b.String())
			w.mu.Unlock()
		case "tls":
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{w.cert}})
			if err := tc.Handshake(); err != nil {
				return
			}
			c, in = tc, bufio.NewReader(tc)
		case "brk":
			in.ReadByte()
			return
		case "wait":
			d, _ := time.ParseDuration(arg)
			time.Sleep(d)
		case "stall":
			io.Copy(io.Discard, in)
			return
		case "drop":
			return
		case "end":
			// Nothing more may come but the end.
			rest, _ := io.ReadAll(in)
			if len(rest) > 0 {
				w.t.Errorf("%s: client said %q after the end", address, rest)
			}
			return
		}
	}
	io.Copy(io.Discard, in)
}

// textContent is a mail.Content in memory; without keeps Bytes away.
type textContent struct {
	text    string
	without bool
	readErr error
}

func (c textContent) Size() int64 { return int64(len(c.text)) }
func (c textContent) Bytes() []byte {
	if c.without {
		return nil
	}
	return []byte(c.text)
}

func (c textContent) Open() (io.ReadCloser, error) {
	if c.readErr != nil {
		return io.NopCloser(io.MultiReader(strings.NewReader(c.text), errReader{c.readErr})), nil
	}
	return io.NopCloser(bytes.NewReader([]byte(c.text))), nil
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// testSettings are the defaults of smtp(8) that matter here.
func testSettings() Settings {
	return Settings{
		AddressPreference: "any", AddressVerifyTarget: "rcpt", BalanceInetProtocols: true,
		CacheOnDemand: true, CacheTimeLimit: 2 * time.Second, ReuseTimeLimit: 300 * time.Second, ConnectTimeout: 30 * time.Second,
		DataInitTimeout: 120 * time.Second, DataXferTimeout: 180 * time.Second, DataDoneTimeout: 600 * time.Second,
		HeloName: "c.test", HeloTimeout: 300 * time.Second, HostLookup: []string{"dns"}, LineLengthLimit: 998, LogTLSStatus: true,
		MailTimeout: 300 * time.Second, MXAddressLimit: 5, MXSessionLimit: 2, QuitTimeout: 300 * time.Second, QuoteEnvelope: true,
		RcptTimeout: 300 * time.Second, RsetTimeout: 20 * time.Second, Skip5xxGreeting: true, SkipQuitResponse: true,
		StartTLSTimeout: 300 * time.Second, TCPPort: "smtp", XForwardTimeout: 300 * time.Second, SASLDelimiter: ":",
		SASLSoftBounce: true, SASLSecurityOptions: []string{"noanonymous"}, SASLTLSSecurityOptions: []string{"noanonymous"},
		TLSProtocols: ">=TLSv1", TLSMandatoryProtocols: ">=TLSv1", TLSCiphers: "medium", TLSMandatoryCiphers: "medium", TLSDigest: "sha256",
		TLSVerifyMatch: []string{"hostname"}, TLSSecureMatch: []string{"nexthop", "dot-nexthop"},
	}
}

func testCommon() Common {
	return Common{MyHostname: "c.test", InetProtocols: []string{"ipv4"}, MinimalBackoff: 300 * time.Second, AlwaysEHLO: true}
}

func (w *world) config() Config {
	return Config{Settings: testSettings(), Common: testCommon(), Resolver: w, Dial: w.dial, Log: w.logger()}
}

func (w *world) logger() *event.Logger { return event.NewLogger(&w.log, "postfix/smtp", 1) }

func (w *world) client(cfg Config) *Client {
	c, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// delivery is an attempt to deliver a short message from a@c.test.
func (w *world) delivery(nexthop string, rcpts ...string) *agent.Delivery {
	d := &agent.Delivery{
		Envelope: &mail.Envelope{ID: "QID", Sender: "a@c.test", Arrived: time.Now()},
		Route:    mail.Route{Nexthop: mail.Nexthop(nexthop)}, Content: textContent{text: "Subject: x\r\n\r\nhello\r\n"},
		Logger: w.logger(), Active: time.Now(), Started: time.Now(),
	}
	for _, r := range rcpts {
		d.Recipients = append(d.Recipients, mail.Recipient{Address: mail.Address(r)})
	}
	return d
}

// brief writes results as "index outcome dsn relay text" lines in order.
func brief(results []mail.Result) string {
	byIndex := make([]string, len(results))
	for _, r := range results {
		site := ""
		if r.SiteFailure {
			site = " SITE"
		}
		relay := r.Relay
		if relay == "" {
			relay = "none"
		}
		byIndex[r.Index] = fmt.Sprintf("%d %s %s %s tls=%s%s (%s)", r.Index, r.Outcome, r.Enhanced, relay, r.TLS, site, r.Text)
	}
	return strings.Join(byIndex, "\n")
}

// hello is the start of most scripts.
var hello = []string{"> 220 mx.test ESMTP", "< EHLO c.test", "> 250-mx.test", "> 250-PIPELINING", "> 250-SIZE 1000000", "> 250 8BITMIME"}

func steps(parts ...any) []string {
	var out []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p)
		case []string:
			out = append(out, p...)
		}
	}
	return out
}

func mustPair(t *testing.T, cert, key []byte) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
