package postconf

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// settings has a field of each type.
type settings struct {
	Helo     bool          `postconf:"smtpd_helo_required"`
	Hard     int           `postconf:"smtpd_hard_error_limit"`
	Size     int64         `postconf:"message_size_limit"`
	Timeout  time.Duration `postconf:"smtpd_timeout"`
	Lifetime time.Duration `postconf:"maximal_queue_lifetime"`
	Banner   string        `postconf:"smtpd_banner"`
	Reply    string        `postconf:"default_rbl_reply"`
	Networks []string      `postconf:"mynetworks"`
	Other    string
}

// TestDecode checks the defaults, values of main.cf and values of a service.
func TestDecode(t *testing.T) {
	main := "mynetworks = 127.0.0.0/8, { a, b }\n [::1]/128\nown = example\nsmtpd_banner = $own $stress.\nmaximal_queue_lifetime = 2\nmail_name = X\n"
	master := "smtp inet n - n - - smtpd -o smtpd_timeout=5m -o own=service -o smtpd_helo_required=YES\n"
	c, problems := Parse("/etc/postfix", []byte(main), []byte(master), testOptions())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := settings{
		Hard: 20, Size: 10240000, Timeout: 300 * time.Second, Lifetime: 48 * time.Hour, Banner: "example .",
		Reply:    "$rbl_code Service unavailable; $rbl_class [$rbl_what] blocked using $rbl_domain${rbl_reason?; $rbl_reason}",
		Networks: []string{"127.0.0.0/8", "{ a, b }", "[::1]/128"},
	}
	check := func(v *View, want settings) {
		t.Helper()
		var got settings
		if problems := v.Decode(&got); len(problems) > 0 {
			t.Error(problems)
		}
		if !slices.Equal(got.Networks, want.Networks) {
			t.Errorf("mynetworks: got %q", got.Networks)
		}
		got.Networks, want.Networks = nil, nil
		if !equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	check(c.View(nil), want)
	want.Timeout, want.Helo, want.Banner = 5*time.Minute, true, "service ."
	check(c.View(c.Services[0]), want)
	want.Hard, want.Banner = 1, "service yes."
	check(c.View(c.Services[0]).With("stress", "yes"), want)
}

// equal compares settings without their list.
func equal(a, b settings) bool {
	return a.Helo == b.Helo && a.Hard == b.Hard && a.Size == b.Size && a.Timeout == b.Timeout &&
		a.Lifetime == b.Lifetime && a.Banner == b.Banner && a.Reply == b.Reply
}

// TestDecodeProblems checks that all problems are found and that the fields then
// have their defaults.
func TestDecodeProblems(t *testing.T) {
	v := parseMain(t, "smtpd_helo_required = on\nsmtpd_hard_error_limit = 0\nmessage_size_limit = 1G\nsmtpd_timeout =\nsmtpd_banner = ${\n")
	var got settings
	problems := v.Decode(&got)
	want := []string{
		"/etc/postfix/main.cf, line 1: bad boolean configuration: smtpd_helo_required = on",
		"/etc/postfix/main.cf, line 2: invalid smtpd_hard_error_limit parameter value 0 < 1",
		"/etc/postfix/main.cf, line 3: bad numerical configuration: message_size_limit = 1G",
		"/etc/postfix/main.cf, line 4: parameter smtpd_timeout: bad time value or unit: ",
		"/etc/postfix/main.cf, line 5: truncated macro reference: \"${\" in the value of smtpd_banner",
	}
	for i, p := range problems {
		if i >= len(want) || p.Error() != want[i] || !p.Fatal {
			t.Errorf("got %v", p)
		}
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems, want %d", len(problems), len(want))
	}
	if got.Hard != 20 || got.Size != 10240000 || got.Timeout != 5*time.Minute || !strings.HasSuffix(got.Banner, "ESMTP Postfix") {
		t.Errorf("got %+v", got)
	}
	for _, dst := range []any{got, nil, new(int), &struct {
		X string `postconf:"nosuch_parameter"`
	}{}, &struct {
		X float64 `postconf:"smtpd_banner"`
	}{}} {
		if problems := parseMain(t, "").Decode(dst); !HasFatal(problems) {
			t.Errorf("%T: no problem", dst)
		}
	}
}

// TestTime checks the units.
func TestTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5": 5 * 24 * time.Hour, "5s": 5 * time.Second, "5m": 5 * time.Minute, "5h": 5 * time.Hour,
		"5d": 5 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "5days": 5 * 24 * time.Hour, "2hh": 2 * time.Hour,
		" +3s": 3 * time.Second, "0": 0, "2147483647s": 2147483647 * time.Second,
	} {
		if got, err := ParseDuration(text, 'd'); got != want || err != nil {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "s", "-1s", "5x", "5 s", "1.5h", "2147483648s", "3551w", "99999999999999999999", "5S"} {
		if got, err := ParseDuration(text, 'd'); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

// TestTransport checks parameters that are formed from the name of a transport.
func TestTransport(t *testing.T) {
	v := parseMain(t, "default_destination_concurrency_limit = 7\nslow_destination_rate_delay = 2\nslow_initial_destination_concurrency = 0\nx_extra_recipient_limit = 9\n")
	for name, want := range map[string]int64{
		"slow_destination_concurrency_limit": 7, "local_destination_concurrency_limit": 2,
		"x_extra_recipient_limit": 9, "x_recipient_limit": 20000, "a_b_destination_recipient_limit": 50,
	} {
		if got, err := v.Int(name); got != want || err != nil {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
	}
	if d, err := v.Duration("slow_destination_rate_delay"); d != 2*time.Second || err != nil {
		t.Errorf("got %v, %v", d, err)
	}
	if _, err := v.Int("slow_initial_destination_concurrency"); err == nil || !strings.Contains(err.Error(), "main.cf, line 3: invalid") {
		t.Errorf("got %v", err)
	}
	if _, err := v.Bool("nosuch"); err == nil {
		t.Error("a name without a row was read")
	}
}

// TestLMTP checks that the settings of the SMTP client serve for LMTP.
func TestLMTP(t *testing.T) {
	type client struct {
		Port   string        `postconf:"smtp_tcp_port,lmtp"`
		Name   string        `postconf:"smtp_helo_name,lmtp"`
		Wait   time.Duration `postconf:"smtp_connect_timeout,lmtp"`
		Policy string        `postconf:"smtp_tls_dane_insecure_mx_policy,lmtp"`
	}
	v := parseMain(t, "smtp_helo_name = s.example\nlmtp_lhlo_name = l.example\n")
	var smtp, lmtp client
	if problems := append(v.Decode(&smtp), v.DecodeLMTP(&lmtp)...); len(problems) > 0 {
		t.Fatal(problems)
	}
	if smtp != (client{"smtp", "s.example", 30 * time.Second, "dane"}) || lmtp != (client{"24", "l.example", 0, "dane"}) {
		t.Errorf("got %+v and %+v", smtp, lmtp)
	}
	tagged := Tagged(client{}, &settings{})
	for _, name := range []string{"smtp_tcp_port", "lmtp_tcp_port", "lmtp_lhlo_name", "mynetworks"} {
		if p, _ := Find(name); p.StatusIn(tagged) != Implemented {
			t.Errorf("%s: %v", name, p.StatusIn(tagged))
		}
	}
	if p, _ := Find("max_use"); p.StatusIn(tagged) != Different {
		t.Error("max_use is not different")
	}
}

// BenchmarkDecode measures one decoding of a struct with nine fields.
func BenchmarkDecode(b *testing.B) {
	v := parseMain(b, "mynetworks = 127.0.0.0/8\nsmtpd_banner = $myhostname ESMTP\n")
	b.ReportAllocs()
	for b.Loop() {
		var s settings
		if problems := v.Decode(&s); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
