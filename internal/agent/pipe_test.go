package agent

import (
	"os/user"
	"reflect"
	"strings"
	"testing"

	"postroad/internal/mail"
	"postroad/internal/privdeliver"
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

// TestPipeAttributes reads every attribute, and every flag for itself.
func TestPipeAttributes(t *testing.T) {
	t.Parallel()
	got, err := readPipe(strings.Fields(`-o a=b user=vmail:mail size=10 null_sender= eol=\r\012 directory=/tmp chroot=/srv argv=/bin/cat -o x`))
	want := &pipeService{account: "vmail:mail", size: 10, eol: "\r\n", directory: "/tmp", chroot: "/srv", argv: []string{"/bin/cat", "-o", "x"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for flags, want := range map[string]pipeFlags{
		"": {}, "B": {blank: true}, "D": {deliveredTo: true}, "F": {from: true}, "O": {originalTo: true}, "R": {returnPath: true}, "X": {final: true},
		"h": {foldHost: true}, "q": {quoteAddress: true}, "u": {foldUser: true}, ".": {dot: true}, ">": {quote: true}, "hu": {foldHost: true, foldUser: true},
	} {
		s, err := readPipe([]string{"flags=" + flags, "user=vmail", "argv=x"})
		if err != nil || s.flags != want || s.nullSender != "MAILER-DAEMON" {
			t.Errorf("%s: %+v, %v", flags, s, err)
		}
	}
}

func TestPipeRefusesAccounts(t *testing.T) {
	t.Parallel()
	own := &mailSystem{owner: "postfix", group: "postdrop", uid: 101, gid: 102, setgid: 103}
	for _, test := range []struct {
		uid, gid int
		want     string
	}{
		{0, 5, "root privileges"}, {101, 5, "mail system owner postfix"}, {5, 0, "privileged group id 0"},
		{5, 102, "mail system owner postfix group id 102"}, {5, 103, "mail system postdrop group id 103"}, {5, 5, ""},
	} {
		err := own.reserves(test.uid, test.gid)
		if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("uid %d, gid %d: %v", test.uid, test.gid, err)
		}
	}
	for account, want := range map[string]string{
		"root": "user= command-line attribute specifies root privileges", "no-such-user": "unknown user name: no-such-user", "root:no-such-group": "unknown group name: no-such-group",
	} {
		if _, _, err := (&pipeService{account: account}).mayRun("postfix", "postdrop", false); err == nil || err.Error() != want {
			t.Errorf("%s: %v", account, err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]error{me.Username: nil, "daemon": privdeliver.ErrRights} {
		if _, _, err := (&pipeService{account: account}).mayRun("", "", true); err != want {
			t.Errorf("a server of an ordinary user, %s: %v", account, err)
		}
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
	// Without flags addresses are as they are; with others they are lower case.
	d.Envelope.Sender, d.Recipients = "A b@X.test", []mail.Recipient{{Address: "J oe+Ext@Y.test", Original: "O rig@Z.test"}}
	a.svc.argv = []string{"$sender", "$recipient", "$original_recipient", "$mailbox", "$user", "$extension", "$domain", "$nexthop"}
	for flags, want := range map[pipeFlags]string{
		{}:                                   `A b@X.test|J oe+Ext@Y.test|O rig@Z.test|J oe+Ext|J oe|Ext|Y.test|Hop`,
		{foldHost: true}:                     `A b@X.test|J oe+Ext@y.test|O rig@z.test|J oe+Ext|J oe|Ext|y.test|hop`,
		{foldUser: true, quoteAddress: true}: `"A b"@X.test|"j oe+ext"@Y.test|"o rig"@Z.test|j oe+ext|j oe|ext|Y.test|Hop`,
	} {
		a.svc.flags = flags
		if got, err = a.argv(d); err != nil || strings.Join(got, "|") != want {
			t.Errorf("%+v: %s, %v", flags, strings.Join(got, "|"), err)
		}
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
	f.Add("argv=x")
	f.Add("user=x argv=")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readPipe(strings.Fields(text))
		if err == nil && (s.account == "" || len(s.argv) == 0 || s.argv[0] == "") {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
