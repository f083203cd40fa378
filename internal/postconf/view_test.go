package postconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNames checks the names of the host.
func TestNames(t *testing.T) {
	for _, test := range []struct{ hostname, main, myhostname, mydomain string }{
		{"host.example.org", "", "host.example.org", "example.org"},
		{"a.b.example.org", "", "a.b.example.org", "b.example.org"},
		{"example.org", "", "example.org", "org"},
		{"host", "", "host.localdomain", "localdomain"},
		{"host", "mydomain = example.net", "host.example.net", "example.net"},
		{"host", "myhostname = other", "other", "localdomain"},
		{"host", "myhostname = mail.$mydomain", "mail.", ""},
		{"host", "myhostname = mail.$mydomain\nmydomain = example.net", "mail.example.net", "example.net"},
		{"host.example.org", "mydomain = sub.$myhostname", "host.example.org", "sub.host.example.org"},
	} {
		opt := testOptions()
		opt.Hostname = test.hostname
		c, _ := Parse("/etc/postfix", []byte(test.main), nil, opt)
		host, err1 := c.View(nil).Value("myhostname")
		domain, err2 := c.View(nil).Value("mydomain")
		if host != test.myhostname || domain != test.mydomain || err1 != nil || err2 != nil {
			t.Errorf("%s, %s: got %q, %q, %v, %v", test.hostname, test.main, host, domain, err1, err2)
		}
	}
}

// TestNetworks checks the default of mynetworks.
func TestNetworks(t *testing.T) {
	for _, test := range []struct{ main, want string }{
		{"", "127.0.0.0/8 192.0.2.0/26 10.1.2.0/24 [::1]/128 [2001:db8::]/64"},
		{"compatibility_level = 2", "127.0.0.1/32 192.0.2.17/32 10.1.2.3/32 [::1]/128 [2001:db8::17]/128"},
		{"mynetworks_style = class", "127.0.0.0/8 192.0.2.0/24 10.0.0.0/8 [::1]/128 [2001:db8::]/64"},
		{"inet_protocols = ipv4", "127.0.0.0/8 192.0.2.0/26 10.1.2.0/24"},
		{"inet_interfaces = loopback-only", "127.0.0.0/8 [::1]/128"},
		{"inet_interfaces = $myhostname, localhost", "192.0.2.0/26 127.0.0.0/8 [::1]/128"},
		{"inet_interfaces = 10.1.2.3 [2001:db8::17]", "10.1.2.0/24 [2001:db8::]/64"},
		{"inet_interfaces = far.example.org", "main.cf, line 1: parameter inet_interfaces: no local interface found for 198.51.100.1"},
		{"inet_interfaces = nowhere", "main.cf, line 1: config variable inet_interfaces: host not found: nowhere"},
		{"mynetworks_style = host, subnet", "main.cf, line 1: bad mynetworks_style value: host, subnet; specify exactly one value"},
		{"mynetworks = 192.0.2.0/24", "192.0.2.0/24"},
	} {
		c, _ := Parse("", []byte(test.main), []byte("smtp inet n - n - - smtpd -o mynetworks_style=host -o inet_protocols=ipv4"), testOptions())
		got, err := c.View(nil).Value("mynetworks")
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.main, got, test.want)
		}
		if test.main == "" {
			if got, _ := c.View(c.Services[0]).Value("mynetworks"); got != "127.0.0.1/32 192.0.2.17/32 10.1.2.3/32" {
				t.Errorf("service: got %s", got)
			}
			if got, _ := c.View(nil).Expand("<$mynetworks>"); got != "<"+test.want+">" {
				t.Errorf("reference: got %s", got)
			}
		}
	}
}

// TestPrecedence checks which setting wins.
func TestPrecedence(t *testing.T) {
	opt := testOptions()
	opt.Overrides = []Override{{"relayhost", "command"}, {"smtp_helo_name", "command"}}
	main := "relayhost = main\nsmtp_helo_name = main\nmyorigin = main\nprocess_name = fake\n"
	master := "x unix - - n - - smtp -o smtp_helo_name=first -o { smtp_helo_name = last one }\n"
	c, _ := Parse("/etc/postfix", []byte(main), []byte(master), opt)
	s := c.View(c.Services[0])
	for _, test := range []struct {
		v                 *View
		name, value, from string
		set               bool
	}{
		{c.View(nil), "relayhost", "command", "command line", true},
		{c.View(nil), "myorigin", "main", "/etc/postfix/main.cf, line 3", true},
		{c.View(nil), "mydomain", "example.org", "built-in default", false},
		{c.View(nil), "config_directory", "/etc/postfix", "built-in default", false},
		{s, "smtp_helo_name", "last one", "/etc/postfix/master.cf, line 1", true},
		{s, "relayhost", "command", "command line", true},
		{s.With("relayhost", "with"), "relayhost", "with", "override", true},
		{s, "process_name", "smtp", "built-in default", false},
		{s, "service_name", "x", "built-in default", false},
	} {
		value, o, set := test.v.Raw(test.name)
		if value != test.value || o.String() != test.from || set != test.set {
			t.Errorf("%s: got %q, %v, %v", test.name, value, o, set)
		}
	}
}

// TestLegacy checks former names: they count when the present name is not set.
func TestLegacy(t *testing.T) {
	v := parseMain(t, "virtual_maps = old\nfallback_relay = old\nsmtp_fallback_relay = new\nsmtpd_per_record_deadline = yes\n")
	for name, want := range map[string]string{
		"virtual_alias_maps": "old", "smtp_fallback_relay": "new", "smtpd_per_request_deadline": "yes",
		"smtp_per_request_deadline": "no", "postscreen_denylist_action": "ignore",
	} {
		if got, err := v.Value(name); got != want || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, ok := Find("postscreen_tls_loglevel"); !ok {
		t.Error("a name of the next release is not known")
	}
}

// TestLegacyDefaults checks the defaults that depend on compatibility_level.
func TestLegacyDefaults(t *testing.T) {
	for level, want := range map[string]string{
		"0":    "append_dot_mydomain lmtp_tls_fingerprint_digest mynetworks_style relay_domains respectful_logging smtp_tls_fingerprint_digest smtp_tls_security_level smtpd_relay_before_recipient_restrictions smtpd_relay_restrictions smtpd_tls_fingerprint_digest smtputf8_enable",
		"2":    "lmtp_tls_fingerprint_digest respectful_logging smtp_tls_fingerprint_digest smtp_tls_security_level smtpd_relay_before_recipient_restrictions smtpd_tls_fingerprint_digest",
		"3.6":  "smtp_tls_security_level",
		"3.11": "",
	} {
		var names []string
		for _, o := range parseMain(t, "compatibility_level = "+level).LegacyDefaults() {
			names = append(names, o.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", level, got, want)
		}
	}
	if got := parseMain(t, "compatibility_level = 3.6").Config().Level().String(); got != "3.6" {
		t.Errorf("level %s", got)
	}
}

// TestMyorigin checks a myorigin that is a file.
func TestMyorigin(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for main, want := range map[string]string{
		"":                     "host.example.org",
		"myorigin = $mydomain": "example.org",
		"myorigin = " + write("a", " mail.example \nx\n"): "mail.example",
		"myorigin = " + write("b", "\nx\n"):               "",
		"myorigin = " + filepath.Join(dir, "none"):        "",
	} {
		got, err := parseMain(t, main).Myorigin()
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: got %q, %v", main, got, err)
		}
	}
}

// TestEnvironment checks import_environment.
func TestEnvironment(t *testing.T) {
	list := SplitList("TZ LANG=C, { X = a b } NONE, LAST")
	got := Environment(list, []string{"TZ=UTC", "LANG=de", "SECRET=1", "LAST=1", "LAST=2"})
	if want := []string{"TZ=UTC", "LANG=C", "X=a b", "LAST=2"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestLoad checks files that cannot be read.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	_, problems := Load(dir, testOptions())
	want := []string{
		"open " + dir + "/main.cf: No such file or directory",
		"open " + dir + "/master.cf: No such file or directory",
	}
	for i, p := range problems {
		if !p.Fatal || i >= len(want) || p.Error() != want[i] {
			t.Errorf("got %v", p)
		}
	}
	opt := testOptions()
	opt.WithoutMain, opt.WithoutMaster = true, true
	if c, problems := Load(dir, opt); len(problems) > 0 || len(c.Services) > 0 {
		t.Error(problems)
	}
}
