package testkit

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const testZone = `; a comment
# another
a.test. A 192.0.2.1
a.test. A 192.0.2.2
a.test. MX 10 mail.a.test.
alias.test. CNAME a.test.
deep.below.b.test. TXT "x y"
empty.test. NODATA
fail.test. SERVFAIL
no.test. REFUSED
quiet.test. DROP
safe.test. AD
safe.test. A 192.0.2.3
wide.test. TRUNCATE
wide.test. A 192.0.2.4
late.test. DELAY 50ms
late.test. A 192.0.2.5
`

func TestZoneAnswer(t *testing.T) {
	t.Parallel()
	z, err := ParseZone(testZone)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		qtype  uint16
		tcp    bool
		rcode  int
		answer int
		flag   string
	}{
		{"a.test.", dns.TypeA, false, dns.RcodeSuccess, 2, ""},
		{"A.TEST.", dns.TypeMX, false, dns.RcodeSuccess, 1, ""},
		{"a.test.", dns.TypeAAAA, false, dns.RcodeSuccess, 0, "soa"},
		{"alias.test.", dns.TypeA, false, dns.RcodeSuccess, 3, ""},
		{"alias.test.", dns.TypeTXT, false, dns.RcodeSuccess, 1, "soa"},
		{"alias.test.", dns.TypeCNAME, false, dns.RcodeSuccess, 1, ""},
		{"below.b.test.", dns.TypeA, false, dns.RcodeSuccess, 0, "soa"},
		{"nothing.test.", dns.TypeA, false, dns.RcodeNameError, 0, "soa"},
		{"empty.test.", dns.TypeA, false, dns.RcodeSuccess, 0, "soa"},
		{"fail.test.", dns.TypeA, false, dns.RcodeServerFailure, 0, ""},
		{"sub.fail.test.", dns.TypeMX, false, dns.RcodeServerFailure, 0, ""},
		{"no.test.", dns.TypeA, false, dns.RcodeRefused, 0, ""},
		{"quiet.test.", dns.TypeA, false, -1, 0, ""},
		{"safe.test.", dns.TypeA, false, dns.RcodeSuccess, 1, "ad"},
		{"wide.test.", dns.TypeA, false, dns.RcodeSuccess, 0, "tc"},
		{"wide.test.", dns.TypeA, true, dns.RcodeSuccess, 1, ""},
	} {
		q := new(dns.Msg)
		q.SetQuestion(c.name, c.qtype)
		r, _ := z.Answer(q, c.tcp)
		if r == nil {
			if c.rcode != -1 {
				t.Errorf("%s: no answer", c.name)
			}
			continue
		}
		if r.Rcode != c.rcode || len(r.Answer) != c.answer {
			t.Errorf("%s %s: rcode %d, %d answers", c.name, dns.TypeToString[c.qtype], r.Rcode, len(r.Answer))
		}
		if r.AuthenticatedData != (c.flag == "ad") || r.Truncated != (c.flag == "tc") {
			t.Errorf("%s: ad %v tc %v", c.name, r.AuthenticatedData, r.Truncated)
		}
		if (len(r.Ns) == 1) != (c.flag == "soa") {
			t.Errorf("%s %s: authority %v", c.name, dns.TypeToString[c.qtype], r.Ns)
		}
	}
	q := new(dns.Msg)
	q.SetQuestion("late.test.", dns.TypeA)
	if _, d := z.Answer(q, false); d != 50*time.Millisecond {
		t.Errorf("delay %v", d)
	}
}

func TestZoneRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a.test.", "a.test. A not-an-address", "a.test. DELAY", "a.test. DELAY soon", "a.test. FOO bar"} {
		if _, err := ParseZone(text); err == nil {
			t.Errorf("%q was taken", text)
		} else if !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: the error does not say where: %v", text, err)
		}
	}
}

func TestDNSServer(t *testing.T) {
	t.Parallel()
	d, err := StartDNS("", testZone)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(network, name string) *dns.Msg {
		t.Helper()
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeA)
		q.SetEdns0(1232, true)
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		r, _, err := c.Exchange(q, d.Addr)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask("udp", "wide.test."); !r.Truncated {
		t.Error("not truncated over UDP")
	}
	if r := ask("tcp", "wide.test."); len(r.Answer) != 1 || r.IsEdns0() == nil {
		t.Errorf("over TCP: %v", r)
	}
	if err := d.SetZone("new.test. A 192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	if r := ask("udp", "new.test."); len(r.Answer) != 1 {
		t.Errorf("after SetZone: %v", r)
	}
	if q := d.Queries(); len(q) != 3 || q[2] != "new.test. A" {
		t.Errorf("queries %q", q)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// Another server may be given the port at once, so a connection proves nothing;
	// a question that is counted here would.
	q := new(dns.Msg)
	q.SetQuestion("closed.test.", dns.TypeA)
	c := dns.Client{Net: "tcp", Timeout: time.Second}
	_, _, _ = c.Exchange(q, d.Addr)
	if q := d.Queries(); len(q) != 3 {
		t.Errorf("still answering after Close: %q", q)
	}
}

func FuzzParseZone(f *testing.F) {
	for line := range strings.Lines(testZone) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		z, err := ParseZone(text)
		if err != nil {
			return
		}
		q := new(dns.Msg)
		q.SetQuestion("a.test.", dns.TypeMX)
		z.Answer(q, false)
	})
}
