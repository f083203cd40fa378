package postscreen

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

const testConfig = `
myhostname = mx.test
mynetworks = 192.0.2.0/24
compatibility_level = 3.11
inet_protocols = all
postscreen_cache_map =
`

const testMaster = `25 inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
`

// journal is a log that keeps its lines.
type journal struct {
	mu    sync.Mutex
	lines []string
}

// Write implements event.Sink.
func (j *journal) Write(_ time.Time, tag string, _ int, e event.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, program, _ := strings.Cut(tag, "/")
	line := string(e.AppendText(nil))
	if program != "postscreen" {
		line = program + ": " + line
	}
	j.lines = append(j.lines, line)
}

// take returns the lines so far, and forgets them.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := strings.Join(j.lines, "\n")
	j.lines = nil
	return text
}

// answer is what a fake list says, and how long that takes.
type answer struct {
	addrs string
	ttl   time.Duration
	after time.Duration
	err   error
}

// zone is a fake DNS.
type zone struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   int
}

// Addrs implements Resolver.
func (z *zone) Addrs(ctx context.Context, host string, _ dns.Family) ([]netip.Addr, dns.Info, error) {
	z.mu.Lock()
	z.asked++
	a, ok := z.answers[host]
	z.mu.Unlock()
	if !ok {
		return nil, dns.Info{TTL: a.ttl}, &dns.Error{Kind: dns.NotFound, Name: host, Type: "A", Text: "Host not found"}
	}
	select {
	case <-time.After(a.after):
	case <-ctx.Done():
		return nil, dns.Info{}, ctx.Err()
	}
	if a.err != nil {
		return nil, dns.Info{}, a.err
	}
	var addrs []netip.Addr
	for _, s := range strings.Fields(a.addrs) {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs, dns.Info{TTL: a.ttl}, nil
}

// gate is a server under test, and what it hands over.
type gate struct {
	*Server
	log    *journal
	zone   *zone
	caches *Caches
	mu     sync.Mutex
	passed []*Handover
	refuse error
}

// newGate makes a server; its HandOff greets as smtpd does.
func newGate(t testing.TB, config string) *gate {
	t.Helper()
	return newGateWith(t, config, &zone{answers: map[string]answer{}}, &Caches{})
}

func newGateWith(t testing.TB, config string, z *zone, caches *Caches) *gate {
	t.Helper()
	cfg, problems := postconf.Parse("/etc/postfix", []byte(testConfig+config), []byte(testMaster), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	g := &gate{log: &journal{}, zone: z, caches: caches}
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}})
	srv, problems := FromView(cfg.View(cfg.Service("25", "inet")), Deps{Tables: tables, Resolver: z, Caches: caches, Log: g.log})
	if srv == nil {
		t.Fatal(problems)
	}
	g.Server = srv
	srv.HandOff = func(_ context.Context, h *Handover) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.refuse != nil {
			return g.refuse
		}
		g.passed = append(g.passed, h)
		// goroutine: says hello; ends when the client has read it or is gone.
		go func() {
			_, _ = io.WriteString(h.Conn, "220 smtpd\r\n")
			_ = h.Conn.Close()
		}()
		return nil
	}
	return g
}

// viewOf makes a server that is not to be used.
func viewOf(t *testing.T, config string) (*Server, []postconf.Problem) {
	t.Helper()
	cfg, _ := postconf.Parse("/etc/postfix", []byte(testConfig+config+"\n"), []byte(testMaster), postconf.LoadOptions{})
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}})
	return FromView(cfg.View(cfg.Service("25", "inet")), Deps{Tables: tables})
}

// placed gives a connection addresses.
type placed struct {
	net.Conn
	remote net.Addr
}

func (p placed) RemoteAddr() net.Addr { return p.remote }
func (placed) LocalAddr() net.Addr    { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

// visit connects a client. What it says goes out in pieces, each after the one
// before was answered or, if it begins with "+", at once; "~1s" is a pause. The
// result is what it heard until the end.
func (g *gate) visit(from string, pieces ...string) string {
	ours, theirs := net.Pipe()
	addr := &net.TCPAddr{IP: net.ParseIP(from), Port: 4711}
	done := make(chan struct{})
	// goroutine: the server's side; ends with the visit.
	go func() {
		defer close(done)
		g.ServeConn(context.Background(), placed{theirs, addr})
	}()
	heard := make(chan string, 1)
	lines := make(chan string, 1000)
	// goroutine: listens; ends with the connection.
	go func() {
		var all strings.Builder
		in := bufio.NewReader(ours)
		for {
			line, err := in.ReadString('\n')
			all.WriteString(line)
			if len(line) > 3 && line[3] == ' ' {
				lines <- line
			}
			if err != nil {
				close(lines)
				heard <- all.String()
				return
			}
		}
	}()
	first := true
	for _, p := range pieces {
		if d, ok := strings.CutPrefix(p, "~"); ok {
			wait, _ := time.ParseDuration(d)
			time.Sleep(wait)
			first = false
			continue
		}
		text, now := strings.CutPrefix(p, "+")
		if !now && first {
			<-lines
		}
		first = false
		if _, err := io.WriteString(ours, text); err != nil {
			break
		}
		if !now {
			<-lines
		}
	}
	if len(pieces) == 0 {
		<-lines
	}
	_ = ours.Close()
	<-done
	return <-heard
}

// slow is a DNS that lists everybody, slowly, and counts.
type slow struct{ now, most *atomic.Int64 }

// Addrs implements Resolver.
func (s slow) Addrs(context.Context, string, dns.Family) ([]netip.Addr, dns.Info, error) {
	n := s.now.Add(1)
	s.most.Store(max(s.most.Load(), n))
	time.Sleep(time.Second)
	s.now.Add(-1)
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 2})}, dns.Info{}, nil
}
