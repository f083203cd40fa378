package dns

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	wire "github.com/miekg/dns"
)

// fakeServers answers from literals: per server, "name TYPE" to records in
// zone file form, or to a bare reply code ("SERVFAIL"), or to "drop".
type fakeServers struct {
	t     *testing.T
	mu    sync.Mutex
	zones map[string]map[string][]string
	asked []string
	// mangle changes a reply before it is packed; raw replaces the packet.
	mangle func(m *wire.Msg, network string)
	raw    func(packet []byte) [][]byte
}

const testSOA = "test. 60 IN SOA ns.test. root.test. 1 1 1 1 30"

func newFake(t *testing.T, zone map[string][]string) *fakeServers {
	return &fakeServers{t: t, zones: map[string]map[string][]string{"": zone}}
}

func (f *fakeServers) resolver(cfg Config) *Resolver {
	cfg.Transport = f.exchange
	return New(cfg)
}

func (f *fakeServers) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func (f *fakeServers) exchange(ctx context.Context, server netip.AddrPort, network string, query []byte, match func([]byte) bool) error {
	q := &wire.Msg{}
	if err := q.Unpack(query); err != nil {
		f.t.Errorf("query does not parse: %v", err)
	}
	question := strings.TrimSuffix(q.Question[0].Name, ".") + " " + wire.TypeToString[q.Question[0].Qtype]
	f.mu.Lock()
	f.asked = append(f.asked, server.Addr().String()+" "+network+" "+question)
	zone := f.zones[server.Addr().String()]
	if zone == nil {
		zone = f.zones[""]
	}
	f.mu.Unlock()
	m := f.reply(q, zone, question)
	if m == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.mangle != nil {
		f.mangle(m, network)
	}
	packet, err := m.Pack()
	if err != nil {
		f.t.Errorf("reply does not pack: %v", err)
	}
	packets := [][]byte{packet}
	if f.raw != nil {
		packets = f.raw(packet)
	}
	for _, p := range packets {
		if match(p) {
			return nil
		}
	}
	if len(packets) >= maxStrays {
		return errStrays
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeServers) reply(q *wire.Msg, zone map[string][]string, question string) *wire.Msg {
	m := &wire.Msg{}
	m.SetReply(q)
	records, ok := zone[question]
	switch {
	case !ok:
		m.Rcode = wire.RcodeNameError
		for name := range zone {
			if n, _, _ := strings.Cut(name, " "); n == strings.TrimSuffix(q.Question[0].Name, ".") {
				m.Rcode = wire.RcodeSuccess
			}
		}
		m.Ns = append(m.Ns, f.rr(testSOA))
		return m
	case len(records) == 1 && records[0] == "drop":
		return nil
	}
	for _, r := range records {
		if code, ok := wire.StringToRcode[r]; ok {
			m.Rcode = code
			continue
		}
		m.Answer = append(m.Answer, f.rr(r))
	}
	return m
}

func (f *fakeServers) rr(text string) wire.RR {
	rr, err := wire.NewRR(text)
	if err != nil {
		f.t.Errorf("record %q: %v", text, err)
	}
	return rr
}

// kindOf names the result of a lookup in tables.
func kindOf(err error) string {
	var e *Error
	switch {
	case err == nil:
		return "found"
	case !errors.As(err, &e):
		return "other: " + err.Error()
	}
	return [...]string{"temporary", "notfound", "nodata", "invalid"}[e.Kind]
}
