package table

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"postroad/internal/testkit"
)

// openSettings opens type:file with a file of these settings.
func openSettings(t *testing.T, typ, settings string) (Table, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), typ+".cf")
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	var warnings strings.Builder
	tab, err := Open(typ+":"+path, Options{UTF8: true, Warn: func(format string, args ...any) {
		fmt.Fprintf(&warnings, format+"\n", args...)
	}})
	return tab, warnings.String(), err
}

// ldapWith opens an ldap: table with a fake directory.
func ldapWith(t *testing.T, settings string, serve func(int, net.Conn)) (Table, *atomic.Int32) {
	t.Helper()
	tab, _, err := openSettings(t, "ldap", settings)
	if err != nil {
		t.Fatal(err)
	}
	l := inner[*ldapTable](t, tab)
	dials := pipeServer(t, l.server, serve)
	l.servers.dial = l.server.dial
	return tab, dials
}

// basic are settings that most tests begin with.
const basic = "search_base = dc=test\nquery_filter = (mail=%s)\nresult_attribute = maildrop\nbind = no\n"

// staff is a directory with groups of all kinds.
func staff() *FakeLDAP {
	return &FakeLDAP{Entries: map[string][]string{
		"dc=test":          {"o=x"},
		"uid=ann,dc=test":  {"mail=ann@test", "maildrop=ann@store", "uid=ann", "host=h1"},
		"uid=bob,dc=test":  {"mail=bob@test", "maildrop=bob@store", "maildrop=bob@other", "mail=bob2@test"},
		"uid=c(o)m,dc=te*": {"mail=c(*)\\m@test", "maildrop=odd"},
		"cn=all,dc=test":   {"mail=all@test", "member=uid=ann,dc=test", "member=uid=bob,dc=test", "member=uid=gone,dc=test"},
		"cn=url,dc=test":   {"mail=url@test", "member=ldap:///dc=test?maildrop?sub?(uid=ann)", "member=ldap:///uid=bob,dc=test?cn"},
		"cn=bad,dc=test":   {"mail=bad@test", "member=ldap:///dc=test?maildrop?deep"},
		"cn=loop,dc=test":  {"mail=loop@test", "member=cn=loop,dc=test"},
		"cn=mix,dc=test":   {"mail=mix@test", "maildrop=mix@store", "member=uid=ann,dc=test"},
		"cn=none,dc=test":  {"mail=none@test", "cn=none"},
		"cn=nul,dc=test":   {"mail=nul@test", "maildrop=a\x00b"},
		"cn=empty,dc=test": {"mail=empty@test", "maildrop="},
		"cn=opt,dc=test":   {"mail=opt@test", "MailDrop;lang-de=opt@store"},
	}}
}

// ldapLookups are lookups in staff.
var ldapLookups = []struct{ settings, key, want string }{
	{"", "ann@test", "ann@store"},
	{"", "ANN@Test", "ann@store"},
	{"", "bob@test", "bob@store,bob@other"},
	{"", "nobody@test", missing},
	{"", "none@test", missing},
	{"", "empty@test", missing},
	{"", "c(*)\\m@test", "odd"},
	{"", "c*", missing},
	{"", "*", missing},
	{"", "\ufffd", missing},
	{"", "", missing},
	{"", "\xff", missing},
	{"", "opt@test", "opt@store"},
	{"", "nul@test", "a"},
	{"result_attribute = mail, maildrop", "ann@test", "ann@test,ann@store"},
	{"result_attribute = nothing", "ann@test", missing},
	{"result_attribute =", "ann@test", missing},
	{"result_format = <%s|%U|%1>", "ann@test", "<ann@store|ann|test>"},
	{"result_filter = [%s]", "ann@test", "[ann@store]"},
	{"expansion_limit = 1", "ann@test", "ann@store"},
	{"expansion_limit = 1", "bob@test", "!expansion limit"},
	{"domain = other", "ann@test", missing},
	{"query_filter = mail=%u@%d", "ann@test", "ann@store"},
	{"query_filter = (mail=%u@%d)", "ann", missing},
	{"search_base = dc=nowhere", "ann@test", "!search base 'dc=nowhere' not found"},
	{"search_base = dc=%d", "ann@test", "ann@store"},
	{"search_base = dc=%d", "ann@nowhere", missing},
	{"scope = base\nsearch_base = uid=%u,dc=test", "ann@anything", "ann@store"},
	{"scope = base\nsearch_base = uid=%u,dc=test", "nobody@anything", missing},
	{"special_result_attribute = member", "all@test", "ann@store,bob@store,bob@other"},
	{"special_result_attribute = member", "url@test", "ann@store"},
	{"special_result_attribute = member", "bad@test", "!malformed LDAP URL"},
	{"special_result_attribute = member\nrecursion_limit = 7", "loop@test", "!recursion limit"},
	{"special_result_attribute = member\nrecursion_limit = 1", "all@test", "!recursion limit"},
	{"special_result_attribute = member\nrecursion_limit = 2", "all@test", "ann@store,bob@store,bob@other"},
	{"special_result_attribute = member", "mix@test", "mix@store,ann@store"},
	{"special_result_attribute = member\nexpansion_limit = 2", "all@test", "!expansion limit"},
	{"special_result_attribute = member\nterminal_result_attribute = maildrop\nresult_attribute = mail", "mix@test", "mix@store"},
	{"special_result_attribute = member\nleaf_result_attribute = maildrop\nresult_attribute =", "mix@test", "ann@store"},
	{"special_result_attribute = member\nleaf_result_attribute = maildrop\nresult_attribute = mail", "mix@test", "mix@test,ann@test,ann@store"},
}

func TestLDAPLookup(t *testing.T) {
	for _, test := range ldapLookups {
		tab, _ := ldapWith(t, basic+test.settings, staff().Serve)
		want(t, fmt.Sprintf("%q with %q", test.key, test.settings), outcome(tab, test.key), test.want)
		tab.Close()
	}
}

func TestLDAPRequest(t *testing.T) {
	tests := []struct{ settings, key, want string }{
		{"search_base = dc=x\nbind = no", "a*(b)\\c@d",
			`search <dc=x> 2 (mailacceptinggeneralid=a\2a\28b\29\5cc@d) [maildrop] size=0 time=10 deref=0`},
		{"search_base = ou=%u,dc=%d,dc=%1\nbind = none\nscope = ONE\ntimeout = 3\nexpansion_limit = 9\ndereference = 3\nquery_filter = (&  (a=%s)\n  (|(!(b=%%)) (c>=%u) (d:2.4.8:=x)))\nresult_attribute = x,y z\nspecial_result_attribute = m",
			" #,+\"\\<>;=é@x.y", `search <ou=\20\23\2C\2B\22\5C\3C\3E\3B=é,dc=x.y,dc=y> 1 (&(a= #,+"\5c<>;=\c3\a9@x.y)(|(!(b=%))(c>= #,+"\5c<>;=\c3\a9)(d:2.4.8:=x))) [x y z m] size=9 time=3 deref=3`},
		{"bind_dn = cn=me\nbind_pw = secret word\nsize_limit = 5\nexpansion_limit = 2", "k",
			"bind v3 cn=me secret word|search <> 2 (mailacceptinggeneralid=k) [maildrop] size=5 time=10 deref=0"},
		{"query_filter = x=*", "k", "bind v3  |search <> 2 (x=*) [maildrop] size=0 time=10 deref=0"},
		{"bind = SASL\nsasl_mechs = GSSAPI EXTERNAL\nsasl_authz_id = u:me\nquery_filter=x=a*%s*z", "k",
			"bind v3  \x04\x08EXTERNAL\x04\x04u:me|search <> 2 (x=a*k*z) [maildrop] size=0 time=10 deref=0"},
	}
	for _, test := range tests {
		f := &FakeLDAP{Entries: map[string][]string{"dc=x": nil, "": nil}}
		tab, _ := ldapWith(t, test.settings, f.Serve)
		outcome(tab, test.key)
		if got := strings.Join(f.Log, "|"); got != test.want {
			t.Errorf("%q asks\n%q, want\n%q", test.settings, got, test.want)
		}
		tab.Close()
	}
}

// ldapReplies are replies to a search, and what they mean.
var ldapReplies = []struct {
	name  string
	reply func(n, id int) []byte
	want  string
}{
	{"nothing", func(_, id int) []byte { return searchDone(id, 0) }, missing},
	{"one entry", func(_, id int) []byte { return append(ldapEntry(id, "x", "maildrop=v"), searchDone(id, 0)...) }, "v"},
	{"intermediate", func(_, id int) []byte {
		return bytes.Join([][]byte{ldapMessage(id, ldapOp(25)), ldapEntry(id, "x", "maildrop=v"), searchDone(id, 0)}, nil)
	}, "v"},
	{"reference", func(_, id int) []byte {
		return bytes.Join([][]byte{ldapMessage(id, ldapOp(19, berOctets("ldap://other/"))), ldapEntry(id, "x", "maildrop=v"), searchDone(id, 0)}, nil)
	}, "v"},
	{"large entry", func(_, id int) []byte {
		return append(ldapEntry(id, "x", "other="+strings.Repeat("x", 100_000), "maildrop=v"), searchDone(id, 0)...)
	}, "v"},
	{"no such object", func(_, id int) []byte { return searchDone(id, ldap.LDAPResultNoSuchObject) }, "!not found"},
	{"busy", func(_, id int) []byte { return searchDone(id, ldap.LDAPResultBusy) }, "!LDAP error 51"},
	{"size limit", func(_, id int) []byte {
		return append(ldapEntry(id, "x", "maildrop=v"), searchDone(id, ldap.LDAPResultSizeLimitExceeded)...)
	}, "!LDAP error 4"},
	{"referral", func(_, id int) []byte { return ldapDone(5, id, ldap.LDAPResultReferral, "", "ldap://other/") }, "!LDAP error 10"},
	{"unknown code", func(_, id int) []byte { return ldapDone(5, id, 4242, "odd\x07") }, "!LDAP error 4242: : odd?"},
	{"too many entries", func(_, id int) []byte {
		return bytes.Join([][]byte{ldapEntry(id, "x", "maildrop=v"), ldapEntry(id, "y", "maildrop=w"), ldapEntry(id, "z", "maildrop=w"), searchDone(id, 0)}, nil)
	}, "!size_limit"},
	{"other question", func(_, id int) []byte { return append(ldapEntry(id+1, "x", "maildrop=v"), searchDone(id, 0)...) }, "!answers no question"},
	{"two answers", func(_, id int) []byte { return append(searchDone(id, 0), searchDone(id, 0)...) }, "!more than one"},
	{"other operation", func(_, id int) []byte { return ldapDone(ldap.ApplicationBindResponse, id, 0, "") }, "!malformed"},
	{"no value set", func(_, id int) []byte {
		return ldapMessage(id, ldapOp(4, berOctets("dn"), berOctets("no list")))
	}, "!malformed"},
	{"not UTF-8", func(_, id int) []byte { return append(ldapEntry(id, "x", "maildrop=\xff"), searchDone(id, 0)...) }, "!UTF-8"},
	{"HTTP", func(_, _ int) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, "!malformed"},
	{"indefinite", func(_, _ int) []byte { return []byte{0x30, 0x80, 0, 0} }, "!malformed"},
	{"huge", func(_, _ int) []byte { return []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff} }, "!larger than"},
	{"long length", func(_, _ int) []byte { return []byte{0x30, 0x85, 0, 0, 0, 0, 1} }, "!malformed"},
	{"empty message", func(_, _ int) []byte { return []byte{0x30, 0} }, "!malformed"},
	{"inner length", func(_, _ int) []byte { return []byte{0x30, 5, 2, 1, 1, 0x64, 0x50} }, "!malformed"},
	{"negative id", func(_, _ int) []byte { return []byte{0x30, 5, 2, 1, 0xff, 0x65, 0} }, "!malformed"},
}

func TestLDAPReplies(t *testing.T) {
	for _, test := range ldapReplies {
		t.Run(test.name, func(t *testing.T) {
			f := &FakeLDAP{Reply: test.reply}
			tab, _ := ldapWith(t, basic+"size_limit = 2\n", f.Serve)
			defer tab.Close()
			want(t, test.name, outcome(tab, "key"), test.want)
		})
	}
}

func TestLDAPTime(t *testing.T) {
	tests := []struct {
		name, settings, want string
		serve                func(int, net.Conn)
		dials                int32
		after                time.Duration
	}{
		{"hangs", "", "!in time", discard, 1, 10 * time.Second},
		{"hangs at bind", "bind = yes\ntimeout = 2\n", "!bind to", discard, 1, 2 * time.Second},
		{"hangs, two servers", "bind = yes\nserver_host = a b\ntimeout = 4", "!bind to b:389", discard, 2, 8 * time.Second},
		{"away", "server_host = ldap://a:1 b:2 c\nserver_port=3", "!connect to c:3: connection refused", nil, 3, 0},
		{"hangs up", "", "!EOF", func(_ int, c net.Conn) { bufio.NewReader(c).ReadByte() }, 2, 0},
		{"drips", "timeout = 5", "!in time", func(_ int, c net.Conn) {
			bufio.NewReader(c).ReadByte()
			for _, b := range ldapEntry(1, "x", "maildrop=v") {
				time.Sleep(time.Second)
				c.Write([]byte{b})
			}
		}, 1, 5 * time.Second},
		{"notice of disconnection", "", "!ends the connection", (&FakeLDAP{Reply: func(_, _ int) []byte {
			return ldapDone(ldap.ApplicationExtendedResponse, 0, ldap.LDAPResultUnavailable, "bye")
		}}).Serve, 2, 0},
		{"second server", "server_host = a b", "ann@store", func(n int, c net.Conn) {
			if n > 1 {
				staff().Serve(n, c)
			}
		}, 2, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tab, dials := ldapWith(t, basic+test.settings, test.serve)
				defer tab.Close()
				start := time.Now()
				want(t, test.name, outcome(tab, "ann@test"), test.want)
				if d := time.Since(start); d != test.after || dials.Load() != test.dials {
					t.Errorf("%v and %d connections", d, dials.Load())
				}
				time.Sleep(time.Minute) // until the server has noticed
			})
		})
	}
}

// TestLDAPRestart sends answers byte by byte, and the directory restarts after
// each.
func TestLDAPRestart(t *testing.T) {
	tab, dials := ldapWith(t, basic, func(n int, c net.Conn) {
		buf := make([]byte, 1000)
		c.Read(buf)
		for _, b := range append(ldapEntry(1, "x", fmt.Sprint("maildrop=from", n)), searchDone(1, 0)...) {
			c.Write([]byte{b})
		}
	})
	defer tab.Close()
	for n := range 3 {
		want(t, "lookup", outcome(tab, "key"), fmt.Sprint("from", n+1))
	}
	if dials.Load() != 3 {
		t.Errorf("%d connections", dials.Load())
	}
}

func TestLDAPSecrets(t *testing.T) {
	f := &FakeLDAP{BindCode: ldap.LDAPResultInvalidCredentials}
	tab, _ := ldapWith(t, "bind_dn = cn=me\nbind_pw = secret\n", f.Serve)
	defer tab.Close()
	got := outcome(tab, "key")
	want(t, "a wrong password", got, "!bind to localhost:389 as \"cn=me\": LDAP error 49: Invalid Credentials")
	if strings.Contains(got, "secret") {
		t.Errorf("the error has the password: %s", got)
	}
}

// TestLDAPTLS: with start_tls nothing is asked before the connection is
// encrypted, and nothing when it cannot be.
func TestLDAPTLS(t *testing.T) {
	cert, err := testkit.SelfSigned("localhost")
	if err != nil {
		t.Fatal(err)
	}
	start := func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}) }
	tests := []struct {
		settings string
		start    func(net.Conn) net.Conn
		want     string
		log      int
	}{
		{"", start, "ann@store", 3},
		{"tls_require_cert = yes\n", start, "!failed to verify certificate", 1},
		{"", nil, "!STARTTLS with localhost:389: LDAP error 2: Protocol Error: no TLS here", 1},
		{"", func(c net.Conn) net.Conn { c.Close(); return c }, "!STARTTLS with", 2},
	}
	for _, test := range tests {
		f := staff()
		f.StartTLS = test.start
		got := overSocket(t, basic+"start_tls = yes\nbind = yes\nbind_pw = secret\n"+test.settings, f.Serve)
		want(t, test.settings, got, test.want)
		if len(f.Log) < 1 || f.Log[0] != "extended "+oidStartTLS || len(f.Log) > test.log {
			t.Errorf("%q: the directory hears %q", test.settings, f.Log)
		}
	}
	got := overSocket(t, basic+"server_host = ldaps://localhost\n", func(n int, c net.Conn) { staff().Serve(n, start(c)) })
	want(t, "ldaps", got, "ann@store")
}

// overSocket looks up ann@test in a directory on a real socket, which is done
// when it returns.
func overSocket(t *testing.T, settings string, serve func(int, net.Conn)) string {
	t.Helper()
	tab, _ := ldapWith(t, settings, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inner[*ldapTable](t, tab).servers.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(n, c)
			c.Close()
		}
	})
	got := outcome(tab, "ann@test")
	tab.Close()
	l.Close()
	wg.Wait()
	return got
}

func TestLDAPReferrals(t *testing.T) {
	reply := func(referral bool) func(n, id int) []byte {
		return func(n, id int) []byte {
			switch {
			case n == 1 && referral:
				return ldapDone(5, id, ldap.LDAPResultReferral, "", "ldap://down/", "ldap://other:3/dc=there??one?(x=y)")
			case n == 1:
				ref := ldapMessage(id, ldapOp(19, berOctets("ldap://other/dc=there")))
				return bytes.Join([][]byte{ldapEntry(id, "x", "maildrop=here"), ref, searchDone(id, 0)}, nil)
			}
			return append(ldapEntry(id, "y", "maildrop=there"), searchDone(id, 0)...)
		}
	}
	for _, referral := range []bool{true, false} {
		f := &FakeLDAP{Reply: reply(referral)}
		tab, _ := ldapWith(t, basic+"bind = yes\nbind_dn = cn=me\nbind_pw = pw\nchase_referrals = yes\n", f.Serve)
		dial := inner[*ldapTable](t, tab).servers.dial
		var places []string
		inner[*ldapTable](t, tab).servers.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			places = append(places, address)
			if strings.HasPrefix(address, "down") {
				return nil, errors.New("down")
			}
			return dial(ctx, network, address)
		}
		wanted, log := "there", "bind v3 cn=me pw|search <dc=test> 2 (mail=key)|bind v3  |search <dc=there> 1 (x=y)"
		if !referral {
			wanted, log = "here,there", "bind v3 cn=me pw|search <dc=test> 2 (mail=key)|bind v3  |search <dc=there> 2 (mail=key)"
		}
		want(t, "a referral", outcome(tab, "key"), wanted)
		if got := strings.ReplaceAll(strings.Join(f.Log, "|"), " [maildrop] size=0 time=10 deref=0", ""); got != log {
			t.Errorf("asks %q, want %q", got, log)
		}
		if len(places) < 2 || places[0] != "localhost:389" {
			t.Errorf("asks %v", places)
		}
		tab.Close()
	}
	loop := &FakeLDAP{Reply: func(_, id int) []byte { return ldapDone(5, id, ldap.LDAPResultReferral, "", "ldap://a/") }}
	tab, _ := ldapWith(t, basic+"chase_referrals = yes\n", loop.Serve)
	defer tab.Close()
	want(t, "a loop", outcome(tab, "key"), "!too many referrals")
}

func TestLDAPSettings(t *testing.T) {
	tests := []struct{ settings, want string }{
		{"query_filter = (mail=%s", "!bad search filter"},
		{"query_filter = (foo bar=%s)", "!bad search filter"},
		{"query_filter = (mail=%s))", "!bad search filter"},
		{"query_filter = (mail=%z)", "!Invalid query template"},
		{"bind = maybe", "!unsupported parameter value: bind = maybe"},
		{"bind = sasl", "!EXTERNAL only"},
		{"bind = sasl\nsasl_mechs = GSSAPI", "!EXTERNAL only"},
		{"server_host =", "!bad string length"},
		{"server_host = ldap://[::1", "!no usable server"},
		{"server_host = ldaps://x\ntls_require_cert = yes\ntls_ca_cert_file = /no/such", "!tls_ca_cert_file: open /no/such"},
		{"start_tls = yes\ntls_require_cert = yes\ntls_ca_cert_dir = /no/such", "!tls_ca_cert_dir"},
		{"start_tls = yes\ntls_cert = /no/such", "!tls_cert"},
		{"timeout = soon", "!bad numerical"},
		{"recursion_limit = 0", "!invalid recursion_limit"},
		{"version = 1", "!invalid version"},
		{"version = 4", "unknown LDAP version 4"},
		{"scope = deep", "Unrecognized value deep specified for scope"},
		{"dereference = 4", "Unrecognized value 4 specified for dereference"},
		{"query_filter = (a=b)", "probably useless"},
		{"cache = yes\ncache_size = 1\ncache_expiry = 1", "ignoring cache_expiry"},
		{"start_tls = yes\ntls_cipher_suite = HIGH", "tls_cipher_suite is ignored"},
		{"debuglevel = 3\nbind_pw = x y z", ""},
	}
	for _, test := range tests {
		tab, got, err := openSettings(t, "ldap", test.settings)
		if err != nil {
			got = failed + err.Error()
		} else {
			tab.Close()
		}
		if test.want != "" && !strings.HasPrefix(test.want, failed) {
			if !strings.Contains(got, test.want) {
				t.Errorf("%q says %q, want %q", test.settings, got, test.want)
			}
			continue
		}
		want(t, test.settings, got, test.want)
	}
}

func TestLDAPServers(t *testing.T) {
	tests := []struct{ text, want string }{
		{"localhost", "tcp localhost:1389"},
		{"a, b:3 [::1]:4,[::1]", "tcp a:1389|tcp b:3|tcp [::1]:4|tcp [::1]:1389"},
		{"ldap://a LDAPS://b ldap://[2001:db8::1]:77/x ldaps://c:1/", "tcp a:389|tcp b:636 tls|tcp [2001:db8::1]:77|tcp c:1 tls"},
		{"ldapi://%2Frun%2Fldapi ldapi:/// ldap://", "unix /run/ldapi|unix /var/run/slapd/ldapi|tcp localhost:389"},
		{"ldap://a:x cldap://b http://c d", "tcp d:1389"},
	}
	for _, test := range tests {
		tab, _, err := openSettings(t, "ldap", "server_port = 1389\nserver_host = "+test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		var got []string
		for _, u := range inner[*ldapTable](t, tab).servers.list {
			s := u.network + " " + u.address
			if u.encrypted {
				s += " tls"
			}
			got = append(got, s)
		}
		want(t, test.text, strings.Join(got, "|"), test.want)
	}
}

func TestLDAPFilter(t *testing.T) {
	tests := []struct{ text, want string }{
		{"mail=%s", "(mail=%s)"},
		{" ( & (a=b)\t( | (c=d) (e=*) ) ) ", "(&(a=b)(|(c=d)(e=*)))"},
		{"(!(a=b))", "(!(a=b))"},
		{"( ! ( a=b ) )", "(!(a=b ))"},
		{`(a=\28\*\)x\\)`, `(a=\28\2A\29x\5C)`},
		{"(a:caseExactMatch:=%u)", "(a:caseExactMatch:=%u)"},
		{"(a;lang-de>=x)", "(a;lang-de>=x)"},
		{"(a~=x)", "(a~=x)"},
		{"(&)", "(&)"},
		{"", "!bad search filter"},
		{"()", "!bad search filter"},
		{"(a)", "!bad search filter"},
		{"(=x)", "!bad search filter"},
		{"(a=b", "!bad search filter"},
		{"(a=b)x", "!bad search filter"},
		{"(a=b)(c=d)", "!bad search filter"},
		{"(a=(b)", "!bad search filter"},
		{`(a=\q)`, "!bad search filter"},
		{"(a b=c)", "!bad search filter"},
		{"(!(a=b)(c=d))", "!bad search filter"},
		{strings.Repeat("(!", 60) + "(a=b)" + strings.Repeat(")", 60), "!bad search filter"},
	}
	for _, test := range tests {
		got, err := normalFilter(test.text)
		if err != nil {
			got = failed + err.Error()
		} else if _, err := ldap.CompileFilter(strings.ReplaceAll(got, "%", "")); err != nil {
			t.Errorf("%q: %v", got, err)
		}
		want(t, test.text, got, test.want)
	}
}

func FuzzLDAPReply(f *testing.F) {
	for _, test := range ldapReplies {
		f.Add(test.reply(1, 1))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		c := &remoteConn{Conn: &script{r: bytes.NewReader(reply)}}
		c.r = bufio.NewReader(c.Conn)
		found, err := c.search(&ldapSearch{filter: "(a=b)", timeout: time.Second})
		if err != nil && len(found.entries)+len(found.references) > 0 {
			t.Errorf("both an answer and %v", err)
		}
		if err == nil && !bytes.Contains(reply, []byte{tagSearchDone}) {
			t.Error("an answer without end")
		}
	})
}

// script is a connection whose other side says what it was told to say.
type script struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (s *script) Read(b []byte) (int, error) { return s.r.Read(b) }

// Write implements net.Conn.
func (s *script) Write(b []byte) (int, error) { return len(b), nil }

// SetDeadline implements net.Conn.
func (s *script) SetDeadline(time.Time) error { return nil }

func FuzzLDAPURL(f *testing.F) {
	for _, seed := range []string{"ldap:///dc=x?a,b?sub?(c=d)?e", "ldapi://%2fx", "ldaps://[::1]:3/", "ldap://%zz/?", "ldap:///?%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if u, err := parseLDAPURL(text); err == nil {
			if u.filter != "" {
				if _, err := normalFilter(u.filter); err != nil {
					t.Errorf("%q has the filter %q", text, u.filter)
				}
			}
			if u.address == "" || strings.Contains(u.dn, "\x00") {
				t.Errorf("%q is %+v", text, u)
			}
		}
	})
}

func FuzzLDAPFilter(f *testing.F) {
	for _, seed := range []string{"mail=%s", "(&(a=b)(c=*))", `(a=\28\*)`, "(!(a:dn:=x))"} {
		f.Add(seed, "a*(b)\\c")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		var quoted strings.Builder
		quoteFilter(&quoted, key)
		// What a key becomes is one value, whatever the key is.
		p, err := ldap.CompileFilter("(a=" + quoted.String() + ")")
		if err != nil || p.Tag != ldap.FilterEqualityMatch || p.Children[1].Data.String() != key {
			t.Errorf("%q is quoted as %q: %v", key, quoted.String(), err)
		}
		normal, err := normalFilter(text)
		if err != nil {
			return
		}
		if again, err := normalFilter(normal); err != nil || again != normal {
			t.Errorf("%q becomes %q and then %q", text, normal, again)
		}
	})
}

func FuzzQuoteDN(f *testing.F) {
	f.Add(" #a,b+c\"d\\e<f>g;h=i\x00")
	f.Fuzz(func(t *testing.T, key string) {
		if !utf8.ValidString(key) {
			return // such a key is not asked for
		}
		var quoted strings.Builder
		quoteDN(&quoted, key)
		dn, err := ldap.ParseDN("cn=" + quoted.String() + ",dc=x")
		if err != nil || len(dn.RDNs) != 2 || len(dn.RDNs[0].Attributes) != 1 || dn.RDNs[0].Attributes[0].Value != key {
			t.Errorf("%q is quoted as %q", key, quoted.String())
		}
	})
}
