package postconf

import (
	"slices"
	"strings"
	"testing"
)

// TestServices checks what becomes of the columns.
func TestServices(t *testing.T) {
	text := `
smtp      inet  n       -       n       -       1       postscreen
submission inet n - y - - /usr/libexec/smtpd -v -o { syslog_name = a b } -oa=b -vo c=d
tlsmgr    unix  -       -       -       1000?   0       tlsmgr
pickup    unix  n       n       n       60      50      pickup -- {x y} z
`
	list, problems := ParseMaster("master.cf", []byte(text))
	if len(problems) > 0 || len(list) != 4 {
		t.Fatal(list, problems)
	}
	s := list[1]
	if !slices.Equal(s.Args, []string{"-v", "-o", "syslog_name=a b", "-o", "a=b", "-v", "-o", "c=d"}) {
		t.Errorf("arguments %q", s.Args)
	}
	if v, ok := s.Override("syslog_name"); v != "a b" || !ok || s.Program() != "smtpd" || s.Chroot != 'y' || s.MaxProc != -1 || s.Line != 3 {
		t.Errorf("got %+v", s)
	}
	if s := list[0]; s.MaxProc != 1 || s.IsPrivate() || !s.IsUnprivileged() || s.Wakeup != 0 {
		t.Errorf("got %+v", s)
	}
	if s := list[2]; s.Wakeup != 1000 || !s.WakeupIfUsed || !s.IsPrivate() || s.MaxProc != 0 {
		t.Errorf("got %+v", s)
	}
	if s := list[3]; s.Wakeup != 60 || s.WakeupIfUsed || s.IsUnprivileged() || !slices.Equal(s.Args, []string{"--", "x y", "z"}) {
		t.Errorf("got %+v", s)
	}
}

// TestActive checks which entries count.
func TestActive(t *testing.T) {
	master := `
smtp inet n - n - - smtpd -o a=1
25 inet n - n - - smtpd -o b=2
smtp unix - - n - - smtp
pickup fifo n - n 60 1 pickup
qmgr unix n - n 300 1 qmgr
qmgr fifo n - n 300 1 qmgr
127.0.0.1:smtp inet n - n - - smtpd
[127.0.0.1]:25 inet n - n - - smtpd
smtp pass - - n - - smtpd
`
	for main, want := range map[string]string{
		"":                              "25/inet smtp/unix pickup/fifo qmgr/unix qmgr/fifo [127.0.0.1]:25/inet smtp/pass",
		"master_service_disable = fifo": "25/inet smtp/unix qmgr/unix [127.0.0.1]:25/inet smtp/pass",
		"master_service_disable = inet, smtp/unix":           "pickup/fifo qmgr/unix qmgr/fifo smtp/pass",
		"master_service_disable = !qmgr/fifo FIFO smtp.pass": "25/inet smtp/unix qmgr/unix qmgr/fifo [127.0.0.1]:25/inet",
	} {
		c, _ := Parse("", []byte(main), []byte(master), testOptions())
		var got []string
		for _, s := range c.Active() {
			got = append(got, s.ID())
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", main, got, want)
		}
		if main == "" {
			if c.Service("smtp", "").Type != "unix" || c.Service("pickup", "").Type != "fifo" || c.Service("smtp", "inet") != nil || c.Service("25", "inet") == nil {
				t.Error("wrong service found")
			}
		}
	}
}

// TestHostPort checks the names of inet services.
func TestHostPort(t *testing.T) {
	for text, want := range map[string]string{
		"smtp": " smtp", "25": " 25", "127.0.0.1:25": "127.0.0.1 25", "localhost:smtp": "localhost smtp",
		"[::1]:25": "::1 25", "[127.0.0.1]:10025": "127.0.0.1 10025", "[ipv6:2001:db8::1]:25": "2001:db8::1 25",
		"::1:25": "::1 25", ":25": " 25", "mail.example.com:587": "mail.example.com 587",
		"[::1": `missing "]"`, "[::1]25": `garbage after "]"`, "[::1]": "missing service information", "h:": "missing service information",
		"": "missing service information", "25x": "garbage after numerical service", "a b:25": "valid hostname or network address required",
		"[]:25": "valid hostname or network address required", "300.1.1.1:25": "valid hostname or network address required",
	} {
		host, port, err := SplitHostPort(text)
		got := host + " " + port
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestSplitList checks lists.
func TestSplitList(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " , ,\t\n": "", "a": "a", "a, b\n c": "a|b|c", "a,,b": "a|b",
		"{ a, b } c": "{ a, b }|c", "x{a b}y,z": "x{a b}y|z", "{a{b c} d} e": "{a{b c} d}|e", "a} b": "a}|b", "{a b": "{a b",
		"inline:{{a = b}, {c = d}}, hash:/x": "inline:{{a = b}, {c = d}}|hash:/x",
	} {
		if got := strings.Join(SplitList(text), "|"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"a": "a,", "{ a b }": "a b,", "{}": ",", "{{a} {b}}": "{a} {b},",
		"{a}b": `a,syntax error after '}' in "{a}b"`, "{a": `a,missing '}' in "{a"`,
	} {
		inner, why := Unbrace(text)
		if got := inner + "," + why; got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestSuggest checks names that were meant.
func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{
		"minimum_backoff_time":         "minimal_backoff_time",
		"smtp_recipient_restrictions":  "smtpd_recipient_restrictions",
		"smtpd_helo_timeout":           "smtp_helo_timeout",
		"smtpd_recipeint_restrictions": "smtpd_recipient_restrictions",
		"my_networks":                  "mynetworks",
		"relay_host":                   "relayhost",
		"mesage_size_limit":            "message_size_limit",
		"virtual_alias_map":            "virtual_alias_maps",
		"MYHOSTNAME":                   "myhostname",
		"hostname_filter":              "",
		"x":                            "",
		strings.Repeat("smtp_", 100):   "",
	} {
		if got := Suggest(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
