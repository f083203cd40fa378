package agent

import (
	"strings"
	"testing"

	"postroad/internal/mail"
	"postroad/internal/table"
)

func TestReadPipe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"user=vmail argv=/bin/cat", ""},
		{"-v -o x=y flags=BDFORXhqu.> user=vmail:mail size=10 null_sender= eol=\\r\\n directory=/tmp argv=/bin/cat -o x", ""},
		{"user=vmail FLAGS=D ARGV=/bin/cat", ""},
		{"argv=/bin/cat", "missing user="},
		{"user=vmail", "missing argv="},
		{"user=vmail argv=", "missing argv="},
		{"user=vmail flags=Z argv=/bin/cat", "unknown flag: Z"},
		{"user=vmail size=x argv=/bin/cat", "bad size: size=x"},
		{"user=vmail size=-1 argv=/bin/cat", "bad size: size=-1"},
		{"user=vmail nonsense=1 argv=/bin/cat", "unknown attribute name: nonsense=1"},
		{"user=vmail flags argv=/bin/cat", "unknown attribute name: flags"},
	} {
		s, err := readPipe(strings.Fields(c.args))
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		case err == nil && s.argv[0] != "/bin/cat":
			t.Errorf("%s: argv %q", c.args, s.argv)
		}
	}
}

func TestUnescapeEOL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`\r\n`: "\r\n", `\015\12`: "\r\n", `\0`: "\x00", `\\n`: `\n`, `\x`: "x", `a\`: `a\`, `\1234`: "S4", "": "",
	} {
		if got := unescapeEOL(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestPipeRefusesAccounts(t *testing.T) {
	t.Parallel()
	s := &pipeService{account: "root"}
	if _, _, err := s.mayRun("postfix", "postdrop", false); err == nil {
		t.Error("root may run commands")
	}
	s.account = "no-such-user"
	if _, _, err := s.mayRun("postfix", "postdrop", false); err == nil || !strings.Contains(err.Error(), "unknown user name") {
		t.Errorf("%v", err)
	}
}

func TestPipeArguments(t *testing.T) {
	t.Parallel()
	a := &pipe{deps: &Deps{Search: table.AddressSearch{Delimiters: "+"}}, svc: &pipeService{
		nullSender: "MAILER-DAEMON", flags: pipeFlags{quoteAddress: true},
		argv: []string{"cmd", "$$1", "${sender}", "-f${recipient}", "$(user)", "${extension}", "$nexthop", "${mailbox}/${domain}"},
	}}
	d := &Delivery{Envelope: &mail.Envelope{Client: mail.ClientFacts{UID: -1}}, Route: mail.Route{Nexthop: "Hop"}, Recipients: []mail.Recipient{
		{Address: "a b@X.test"}, {Address: "joe+;rm -rf@y.test"},
	}}
	got, err := a.argv(d)
	want := []string{
		"cmd", "$1", "MAILER-DAEMON", `-f"a b"@X.test`, `-f"joe+;rm -rf"@y.test`, "a b", "joe", "", ";rm -rf", "Hop",
		"a b/X.test", "joe+;rm -rf/y.test",
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	// What a stranger chose is not looked at again for names.
	d.Envelope.Sender = "${recipient}$nexthop@x.test"
	if got, err = a.argv(d); err != nil || got[2] != "${recipient}$nexthop@x.test" {
		t.Errorf("%q, %v", got, err)
	}
	a.svc.argv = []string{"cmd", "$nonsense"}
	if _, err = a.argv(d); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("unknown macro: %v", err)
	}
}

func FuzzReadPipe(f *testing.F) {
	f.Add("flags=DRhu user=vmail argv=/usr/bin/maildrop -d ${recipient}")
	f.Add(`eol=\015\012 null_sender= user=a:b size=1 argv=x`)
	f.Add("-o a=b argv=")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readPipe(strings.Fields(text))
		if err == nil && (s.account == "" || len(s.argv) == 0 || s.argv[0] == "") {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
