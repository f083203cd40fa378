package postscreen

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/event"
	"postroad/internal/table"
)

func TestStamps(t *testing.T) {
	t.Parallel()
	all := early | deep
	for _, tt := range []struct {
		in    string
		want  stamps
		fresh bool
		todo  set
	}{
		{"100;100;100;100;100", stamps{100, 100, 100, 100, 100}, false, 0},
		{"0;100;99;100;100", stamps{0, 100, 99, 100, 100}, true, 1<<pregreet | 1<<pipelining},
		{"100;1", stamps{100, 1, 1, 1, 1}, false, all &^ only(pregreet)},
		{"", stamps{1, 1, 1, 1, 1}, false, all},
		{"x;-5;1e3;100;100;7", stamps{1, 1, 1, 100, 100}, false, only(pregreet) | only(dnsbl) | only(pipelining)},
	} {
		got := parseStamps(tt.in)
		if got != tt.want || got.fresh() != tt.fresh || got.todo(all, 100) != tt.todo {
			t.Errorf("%q: %v, fresh %v, to do %b", tt.in, got, got.fresh(), got.todo(all, 100))
		}
		if again := parseStamps(string(got.append(nil))); again != got {
			t.Errorf("%q: written and read it is %v", tt.in, again)
		}
	}
	s := stamps{}
	s.settle(only(pregreet))
	if s != (stamps{never, disabled, disabled, disabled, disabled}) {
		t.Errorf("settled: %v", s)
	}
}

func TestParseSites(t *testing.T) {
	t.Parallel()
	hide := func(domain string) (string, error) { return strings.TrimPrefix(domain, "secret."), nil }
	sites, err := parseSites([]string{"a.test", "secret.b.test=127.0.0.2*3", "a.test=127.0.0.[3;4]*-2"}, hide)
	if err != nil || len(sites) != 2 || len(sites[0].rules) != 2 || sites[1].name != "b.test" || sites[1].domain != "secret.b.test" ||
		sites[0].rules[0].weight != 1 || sites[0].rules[1].weight != -2 || sites[1].rules[0].weight != 3 {
		t.Errorf("%+v, %v", sites, err)
	}
	for in, want := range map[string]string{
		"a.test*x":      `bad DNSBL weight factor "x" in "a.test*x"`,
		"a.test*":       `bad DNSBL weight factor "" in "a.test*"`,
		"a.test=1.2.3":  "bad DNSBL filter syntax: need four fields in \"1.2.3\"",
		"bad_-.test.-x": `bad DNSBL domain name "bad_-.test.-x" in "bad_-.test.-x"`,
	} {
		if _, err := parseSites([]string{in}, hide); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

func TestAccessList(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		list string
		want verdict
		log  string
	}{
		{"permit", permit, ""},
		{"reject", reject, ""},
		{"dunno reject", dunno, ""},
		{"permit_mynetworks reject", reject, ""},
		{"inline:{198.51.100.9=permit} reject", permit, ""},
		{"inline:{198.51.100.9=dunno} reject", reject, ""},
		{"inline:{{198.51.100.9=permit_mynetworks, reject}} permit", reject, ""},
		{"inline:{198.51.100.8=permit} reject", reject, ""},
		{"inline:{198.51.100.9=inline:{x=y}} reject", reject, `warning: table inline:{198.51.100.9=inline:{x=y}}: lookup result "inline:{x=y}" is not allowed -- ignoring remainder of access list`},
		{"inline:{198.51.100.9=whatever} reject", dunno, "warning: inline:{198.51.100.9=whatever}: unknown command: whatever -- ignoring the remainder of this access list"},
		{"fail:x reject", dunno, "warning: postscreen_access_list: fail:x: table lookup error -- ignoring the remainder of this access list"},
		{"check_client reject", dunno, "warning: postscreen_access_list: unknown command: check_client -- ignoring the remainder of this access list"},
	} {
		g := newGate(t, "postscreen_access_list = "+tt.list+"\n")
		got := g.lists.access.eval(t.Context(), netip.MustParseAddr(stranger))
		if log := g.log.take(); got != tt.want || log != tt.log {
			t.Errorf("%s: %v, want %v; log %q", tt.list, got, tt.want, log)
		}
	}
}

// TestFooted: the tables are asked for the refusal as it was, and what is soft
// stays soft behind a footer.
func TestFooted(t *testing.T) {
	t.Parallel()
	const both = "postscreen_reject_footer = all $server_name\npostscreen_reject_footer_maps = pcre:{{/^550 5/ of $$$$client_address}}\n"
	for _, tt := range []struct{ config, reply, want string }{
		{"", "550 5.7.1 no", "550 5.7.1 no"},
		{"soft_bounce = yes\n", "550 5.7.1 no", "450 4.7.1 no"},
		{both, "550 5.7.1 no", "550-5.7.1 no\r\n550 5.7.1 of " + stranger},
		{both, "450 4.7.1 no", "450-4.7.1 no\r\n450 4.7.1 all mx.test"},
		{both + "soft_bounce = yes\n", "550 5.7.1 no", "450-4.7.1 no\r\n450 4.7.1 of " + stranger},
		{both + "soft_bounce = yes\n", "250 2.0.0 ok", "250 2.0.0 ok"},
		{"postscreen_reject_footer = all\npostscreen_reject_footer_maps = fail:x\n", "550 5.7.1 no", "550-5.7.1 no\r\n550 5.7.1 all"},
	} {
		g := newGate(t, tt.config)
		c := &client{srv: g.Server, set: g.Settings, ctx: t.Context()}
		c.ends.Client = netip.AddrPortFrom(netip.MustParseAddr(stranger), 4711)
		if got := c.footed(tt.reply); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.reply, got, tt.want)
		}
	}
}

func TestCacheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := &journal{}
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}})
	open := func() *Cache {
		return (&Caches{}).open("btree:"+dir+"/cache", tables, event.NewLogger(log, "postfix/postscreen", 1))
	}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	c := open()
	for i := range 3 * compactAt {
		c.update(a, stamps{int64(i + 2)})
		if i%1000 == 0 {
			c.flush()
		}
	}
	c.update(b, stamps{5, 6, 7, 8, 9})
	c.flush()
	info, err := os.Stat(dir + "/cache" + ownSuffix)
	if err != nil || info.Size() > 30*(compactAt+2000) || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	c = open()
	if got, ok := c.lookup(a); !ok || got[0] != 3*compactAt+1 || len(c.clients) != 2 {
		t.Errorf("after a restart: %v, %v of %d", got, ok, len(c.clients))
	}
	f, err := os.OpenFile(dir+"/cache"+ownSuffix, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "nonsense\n%s\n192.0.2.7 1;2;3;4;5\n192.0.2.8 1;2", strings.Repeat("x", 2*maxRecord))
	_ = f.Close()
	c = open()
	if got, ok := c.lookup(b); !ok || got != (stamps{5, 6, 7, 8, 9}) || len(c.clients) != 3 {
		t.Errorf("after damage: %v, %v of %d", got, ok, len(c.clients))
	}
	c.clean(time.Hour, time.Unix(1000, 0), func(t *stamps) bool { return t[0] > 1 })
	c.clean(time.Hour, time.Unix(1000, 0), func(*stamps) bool { return false }) // not again so soon
	if got := log.take(); got != "cache btree:"+dir+"/cache full cleanup: retained=2 dropped=1 entries" {
		t.Errorf("logged %q", got)
	}
	if c = open(); len(c.clients) != 2 {
		t.Errorf("%d clients after the cleanup", len(c.clients))
	}
}

// TestAdopt takes over what Postfix has remembered.
func TestAdopt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache")
	f, err := table.EditFile("btree", path)
	if err != nil {
		t.Fatal(err)
	}
	entries := []table.Entry{{Key: "192.0.2.1", Value: "5;6;0;0;0"}, {Key: "_LAST_CACHE_CLEANUP_COMPLETED_", Value: "17"}}
	if err := f.Write(entries, table.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	tables := table.NewSet(table.Options{Warn: t.Logf})
	for range 2 { // the second time from our own file
		c := (&Caches{}).open("proxy:btree:"+path, tables, nil)
		if got, ok := c.lookup(netip.MustParseAddr("192.0.2.1")); !ok || got != (stamps{5, 6}) || len(c.clients) != 1 {
			t.Errorf("%v, %v of %d", got, ok, len(c.clients))
		}
	}
}

// TestRetention keeps clients for a while after their results are too old.
func TestRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "postscreen_cache_map = btree:"+dir+"/cache\npostscreen_cache_retention_time = 2d\npostscreen_cache_cleanup_interval = 12h\n")
		g.visit(stranger)
		ctx := t.Context()
		// goroutine: the cleaner; ends with the test.
		go g.cleanCache(ctx)
		for day := range 4 {
			synctest.Wait()
			if _, ok := g.cache.lookup(netip.MustParseAddr(stranger)); ok != (day < 4) {
				t.Errorf("day %d: %v", day, ok)
			}
			time.Sleep(24 * time.Hour)
		}
		synctest.Wait()
		if _, ok := g.cache.lookup(netip.MustParseAddr(stranger)); ok {
			t.Error("it is remembered after four days")
		}
		if log := g.log.take(); !strings.Contains(log, "full cleanup: retained=0 dropped=1 entries") {
			t.Errorf("logged\n%s", log)
		}
	})
}

// TestBadSettings: a mistake is told at the start.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		"postscreen_greet_action = maybe", "postscreen_upstream_proxy_protocol = x", "postscreen_dnsbl_sites = a.test*x",
		"postscreen_dnsbl_action = x", "postscreen_denylist_action =",
	} {
		_, problems := viewOf(t, config)
		if len(problems) == 0 || !problems[0].Fatal {
			t.Errorf("%s: %v", config, problems)
		}
	}
}
