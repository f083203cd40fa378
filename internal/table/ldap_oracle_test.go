//go:build oracle

package table

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// directory is a private slapd.
type directory struct {
	*testkit.Directory
	t    *testing.T
	port string
}

// newDirectory fills a slapd with LDIF and starts it.
func newDirectory(t *testing.T, text string) *directory {
	t.Helper()
	d := testkit.Slapd(t, text)
	return &directory{Directory: d, t: t, port: strconv.Itoa(d.Port)}
}

// spec writes the settings of a table and returns its name.
func (d *directory) spec(settings string) string {
	d.t.Helper()
	f, err := os.CreateTemp(d.Dir, "table*.cf")
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for _, preset := range []string{"server_host = ldap://127.0.0.1:" + d.port, "version = 3", "search_base = dc=test"} {
		if name, _, _ := strings.Cut(preset, "="); !strings.Contains("\n"+settings, "\n"+name) {
			fmt.Fprintln(f, preset)
		}
	}
	fmt.Fprintln(f, settings)
	// Postfix waits until a file of settings is a second old.
	past := time.Now().Add(-10 * time.Second)
	if err := os.Chtimes(f.Name(), past, past); err != nil {
		d.t.Fatal(err)
	}
	return "ldap:" + f.Name()
}

// ldif collects entries.
type ldif struct{ strings.Builder }

// entry adds an entry; each pair is "attribute=value".
func (l *ldif) entry(dn string, pairs ...string) {
	encode := base64.StdEncoding.EncodeToString
	fmt.Fprintf(l, "dn:: %s\n", encode([]byte(dn)))
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		fmt.Fprintf(l, "%s:: %s\n", name, encode([]byte(value)))
	}
	l.WriteString("\n")
}

// person adds somebody.
func (l *ldif) person(dn string, pairs ...string) {
	l.entry(dn, append([]string{"objectClass=device", "objectClass=extensibleObject"}, pairs...)...)
}

// oddNames are parts of names that mean something in a DN or a filter.
var oddNames = []string{"a,b", "a+b", "a\"b", "a\\b", "a<b>", "a;b", "a=b", "#a", "a#", "a b", "*", "a*", "()", "a(b)c", "ü", "字", "a/b", "a%b", "a:b", "a'b", "\\2a", "a,dc=test"}

// fillDirectory makes the directory of TestOracleLDAP, and the keys that are
// looked up in it.
func fillDirectory() (text string, keys []string) {
	var l ldif
	l.entry("dc=test", "objectClass=domain", "dc=test")
	for _, ou := range []string{"people", "odd", "groups", "domains"} {
		l.entry("ou="+ou+",dc=test", "objectClass=organizationalUnit", "ou="+ou)
	}
	r := rand.New(rand.NewPCG(11, 12))
	keys = hostileKeys(r, 300)
	for i, key := range keys {
		if i%2 == 0 {
			continue
		}
		pairs := []string{"address=" + key, fmt.Sprintf("maildrop=drop%d@store.test", i), "state=" + pick(r, "active", "disabled"), "service=mail"}
		var forward []string
		for n := range r.IntN(3) {
			pairs = append(pairs, fmt.Sprintf("service=s%d", n))
			forward = append(forward, fmt.Sprintf("forwardTo=%s%d@%s", pick(r, "x", "é", "a b", "q,r"), n, pick(r, "one.test", "two.test")))
		}
		pairs = append(pairs, forward...)
		if r.IntN(3) == 0 {
			pairs = append(pairs, "alternate="+keys[r.IntN(len(keys))])
		}
		l.person(fmt.Sprintf("cn=p%d,ou=people,dc=test", i), pairs...)
	}
	for i, name := range oddNames {
		var dn strings.Builder
		quoteDN(&dn, name)
		if i%2 == 0 {
			l.person("cn="+dn.String()+",ou=odd,dc=test", "address="+name+"@odd.test", "maildrop=odd "+name, "inGroup=g1")
		}
		keys = append(keys, name, name+"@odd", name+"@odd.test", name+"@nowhere.test", "x@"+name)
	}
	for _, domain := range []string{"example.com", "b.example.net"} {
		l.person("cn="+domain+",ou=domains,dc=test", "address="+domain, "addrTransport=smtp:["+domain+"]:25", "state=active")
		for _, user := range []string{"ann", "bob"} {
			l.person("cn="+user+",cn="+domain+",ou=domains,dc=test", "address="+user+"@"+domain, "store=/srv/"+user, "state=active", "inGroup=g1", "inGroup=g2")
			keys = append(keys, user+"@"+domain, strings.ToUpper(user)+"@"+domain, user)
		}
		keys = append(keys, domain, "@"+domain)
	}
	fillGroups(&l)
	for i := range 9 {
		keys = append(keys, fmt.Sprintf("g%d@group.test", i))
	}
	return l.String(), keys
}

// fillGroups adds groups of all kinds, a referral and an alias.
func fillGroups(l *ldif) {
	ann, bob := "member=cn=ann,cn=example.com,ou=domains,dc=test", "member=cn=bob,cn=b.example.net,ou=domains,dc=test"
	group := func(n int, pairs ...string) {
		l.person(fmt.Sprintf("cn=g%d,ou=groups,dc=test", n), append(pairs, fmt.Sprintf("address=g%d@group.test", n))...)
	}
	group(0, ann, bob, "maildrop=g0@store.test")
	group(1, ann, "member=cn=gone,dc=test", "member=cn=g0,ou=groups,dc=test")
	group(2, "groupURL=ldap:///dc=test?address,store?sub?(inGroup=g2)", "groupURL=ldap:///cn=ann,cn=example.com,ou=domains,dc=test")
	group(3, "groupURL=ldap:///dc=test?state?sub?(inGroup=g2)", "maildrop=only@store.test")
	group(4, "maildrop=first@store.test", "forwardTo=second@store.test")
	group(5, "groupURL=ldap:///ou=odd,dc=test??one?(%26(inGroup=g1)(cn=a%2a))")
	group(6, "member=cn=a\\2Cb,ou=odd,dc=test", ann, ann[:7]+"cn=a\\+b,ou=odd,dc=test")
	group(7, "inGroup=nothing")
	group(8, "groupURL=ldap:///ou=people,dc=test?maildrop?one?(state=active)")
	l.entry("ou=alias,dc=test", "objectClass=alias", "objectClass=extensibleObject", "ou=alias", "aliasedObjectName=ou=people,dc=test")
	l.entry("ou=moved,dc=test", "objectClass=referral", "objectClass=extensibleObject", "ou=moved", "ref=ldap://127.0.0.1:REFPORT/ou=odd,dc=test")
}

// directoryTables are tables as mail systems and administrators write them.
var directoryTables = []string{
	"query_filter = (address=%s)\nresult_attribute = maildrop",
	"query_filter = address=%s\nresult_attribute = forwardTo, maildrop\nbind_dn = cn=admin,dc=test\nbind_pw = top secret",
	"query_filter = (&(address=%u@%d)(state=active)(!(service=s1)))\nresult_attribute = maildrop\nbind = no",
	"query_filter = (&(objectClass=device)\n (| (address=%s) (alternate=%s) )\n  (service=mail))\nresult_attribute = maildrop\nresult_format = <%s> of %S",
	"query_filter = (|(address=*@%s)(alternate=*@%s))\nresult_attribute = state\nsearch_base = ou=people,dc=test\nscope = one",
	"query_filter = (address=%s)\nresult_attribute = forwardTo\nresult_format = %u at %d for %U",
	"query_filter = (address=%s)\nresult_attribute = maildrop\ndomain = example.com, odd.test, inline:{b.example.net=x}",
	"search_base = cn=%u,ou=%1,dc=test\nquery_filter = objectClass=*\nresult_attribute = maildrop\nscope = base",
	"search_base = cn=%u,ou=odd,dc=test\nquery_filter = (address=%s)\nresult_attribute = maildrop",
	"search_base = cn=%d,ou=domains,dc=test\nquery_filter = (address=%s)\nresult_attribute = store\nresult_format = %s/Maildir/\nscope = one",
	"search_base = ou=domains,dc=test\nquery_filter = (&(address=%d)(state=active))\nresult_attribute = addrTransport\nscope = one",
	"query_filter = (address=%s)\nresult_attribute = maildrop\nspecial_result_attribute = member, groupURL",
	"query_filter = (address=%s)\nresult_attribute = address\nspecial_result_attribute = member\nterminal_result_attribute = maildrop",
	"query_filter = (address=%s)\nresult_attribute = forwardTo\nspecial_result_attribute = member,groupURL\nleaf_result_attribute = address store maildrop",
	"query_filter = (address=%s)\nresult_attribute =\nspecial_result_attribute = groupURL\nleaf_result_attribute = address\nterminal_result_attribute = forwardTo",
	"query_filter = (inGroup=%s)\nresult_attribute = address\nresult_filter = %s!",
	"query_filter = (address=%s)\nresult_attribute = maildrop\nchase_referrals = yes",
	"query_filter = (address=%s)\nresult_attribute = maildrop\nsearch_base = ou=alias,dc=test\ndereference = 2",
	"query_filter = (address=%s)\nresult_attribute = maildrop\nsearch_base = dc=test\ndereference = 3",
	"query_filter = (cn:caseExactMatch:=%u)\nresult_attribute = maildrop",
}

// TestOracleLDAP compares all keys in all tables.
func TestOracleLDAP(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	text, keys := fillDirectory()
	d := newDirectory(t, text)
	for _, settings := range directoryTables {
		agree(t, dir, d.spec(settings), append(keys, "g1", "g2"))
	}
}

// TestOracleLDAPErrors compares lookups that fail, each with one that does not.
func TestOracleLDAPErrors(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	text, _ := fillDirectory()
	d := newDirectory(t, text)
	ca := "tls_ca_cert_file = " + filepath.Join(d.Dir, "ca.pem") + "\n"
	filter := "query_filter = (address=%s)\nresult_attribute = maildrop\n"
	tests := []struct{ settings, key string }{
		{"", "g0@group.test"},
		{"bind_dn = cn=admin,dc=test\nbind_pw = wrong", "g0@group.test"},
		{"bind_dn = cn=admin,dc=test", "g0@group.test"},
		{"bind_dn = not a dn", "g0@group.test"},
		{"search_base = dc=nowhere", "g0@group.test"},
		{"search_base = ou=nowhere,dc=test", "g0@group.test"},
		{"search_base = not a dn", "g0@group.test"},
		{"search_base = ou=moved,dc=test", "g0@group.test"},
		{"search_base = ou=moved,dc=test\nchase_referrals = yes", "a,b@odd.test"},
		{"expansion_limit = 1\nresult_attribute = maildrop, forwardTo", "g4@group.test"},
		{"expansion_limit = 2\nresult_attribute = maildrop, forwardTo", "g4@group.test"},
		{"size_limit = 1\nquery_filter = (inGroup=%s)", "g1"},
		{"size_limit = 1", "g0@group.test"},
		{"special_result_attribute = member\nrecursion_limit = 1", "g0@group.test"},
		{"special_result_attribute = member\nrecursion_limit = 2", "g0@group.test"},
		{"special_result_attribute = member\nrecursion_limit = 2", "g1@group.test"},
		{"special_result_attribute = forwardTo", "g4@group.test"},
		{"query_filter = (address=%s", "g0@group.test"},
		{"query_filter = (foo bar=%s)", "g0@group.test"},
		{"query_filter = (nosuchattribute=%s)", "g0@group.test"},
		{"server_host = ldap://127.0.0.1:1/", "g0@group.test"},
		{"server_host = ldap://127.0.0.1:1/ 127.0.0.1:" + d.port, "g0@group.test"},
		{"server_host = 127.0.0.1\nserver_port = " + d.port, "g0@group.test"},
		{"server_host = ldapi://" + strings.ReplaceAll(d.Socket, "/", "%2F"), "g0@group.test"},
		{"server_host = ldapi://%2Fno%2Fsuch", "g0@group.test"},
		{"server_host = ldaps://127.0.0.1:" + strconv.Itoa(d.TLSPort), "g0@group.test"},
		{"server_host = ldaps://127.0.0.1:" + strconv.Itoa(d.TLSPort) + "\ntls_require_cert = yes\n" + ca, "g0@group.test"},
		{"server_host = ldaps://localhost:" + strconv.Itoa(d.TLSPort) + "\ntls_require_cert = yes\n" + ca, "g0@group.test"},
		{"server_host = ldaps://127.0.0.1:" + strconv.Itoa(d.TLSPort) + "\ntls_require_cert = yes\ntls_ca_cert_file = /etc/ssl/certs/ca-certificates.crt", "g0@group.test"},
		{"server_host = ldaps://127.0.0.1:" + d.port, "g0@group.test"},
		{"server_host = ldap://127.0.0.1:" + d.port + "\nstart_tls = yes", "g0@group.test"},
		{"server_host = ldap://127.0.0.1:" + d.port + "\nstart_tls = yes\ntls_require_cert = yes\n" + ca, "g0@group.test"},
		{"server_host = ldapi://" + strings.ReplaceAll(d.Socket, "/", "%2F") + "\nbind = sasl\nsasl_mechs = EXTERNAL", "g0@group.test"},
	}
	for i, test := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			spec := d.spec(filter + test.settings)
			their := theirs(t, dir, spec, test.key)
			ours := failed
			if tab, err := Open(spec, Options{UTF8: true}); err == nil {
				defer tab.Close()
				ours = outcome(tab, test.key)
			}
			if ours != their && !(strings.HasPrefix(ours, failed) && strings.HasPrefix(their, failed)) {
				t.Errorf("%q: %q, Postfix says %q", test.settings, ours, their)
			}
			t.Logf("%.60q: %.150q", test.settings, ours)
		})
	}
}

// TestOracleLDAPAway: a directory that is stopped, killed and started again, and
// something else in its place.
func TestOracleLDAPAway(t *testing.T) {
	t.Parallel()
	text, _ := fillDirectory()
	d := newDirectory(t, text)
	tab := openSpec(t, d.spec("query_filter = (address=%s)\nresult_attribute = maildrop\ntimeout = 1\nbind_dn = cn=admin,dc=test\nbind_pw = top secret"))
	const key, value = "g0@group.test", "g0@store.test"
	want(t, "a directory", outcome(tab, key), value)
	d.Pause()
	want(t, "a stopped directory", outcome(tab, key), "!in time")
	want(t, "a stopped directory", outcome(tab, "nobody"), failed)
	d.Resume()
	want(t, "a directory that goes on", outcome(tab, key), value)
	d.Kill()
	want(t, "a dead directory", outcome(tab, key), "!refused")
	want(t, "a dead directory", outcome(tab, "nobody"), "!refused")
	l, err := net.Listen("tcp", "127.0.0.1:"+d.port)
	if err != nil {
		t.Fatal(err)
	}
	// goroutine: ends when the listener is closed.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadByte()
			io.WriteString(c, "421 go away\r\n")
			c.Close()
		}
	}()
	want(t, "garbage", outcome(tab, key), "!malformed")
	l.Close()
	d.Start()
	want(t, "a new directory", outcome(tab, key), value)
	want(t, "a new directory", outcome(tab, "nobody"), missing)
}

// TestOracleLDAPLoad: six clients ask all the time while the directory is
// stopped, killed and started. None of them is ever told a lie.
func TestOracleLDAPLoad(t *testing.T) {
	t.Parallel()
	text, _ := fillDirectory()
	d := newDirectory(t, text)
	tab := openSpec(t, d.spec("query_filter = (address=%s)\nresult_attribute = maildrop\ntimeout = 1\nsearch_base = ou=groups,dc=test"))
	underLoad(t, tab, "g0@group.test", "g0@store.test", []step{
		{"up", func() {}, true},
		{"stopped", d.Pause, false},
		{"goes on", d.Resume, true},
		{"killed", d.Kill, false},
		{"started", d.Start, true},
		{"killed again", d.Kill, false},
		{"started again", d.Start, true},
	})
}
