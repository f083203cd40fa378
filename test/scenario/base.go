package scenario

import (
	"os"
	"path/filepath"
	"strings"
)

// baseMain is the main.cf of every scenario: an ordinary small server. A
// scenario's own section replaces what it names.
const baseMain = `compatibility_level = 3.6
myhostname = mx.example.test
mydomain = example.test
myorigin = $mydomain
mydestination = $myhostname, localhost.$mydomain, localhost, $mydomain
mynetworks = 127.0.0.0/8 [::1]/128
inet_interfaces = all
inet_protocols = all
biff = no
append_dot_mydomain = no
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
home_mailbox = Maildir/
mailbox_size_limit = 0
recipient_delimiter = +
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
smtp_tls_security_level = none
smtpd_tls_security_level = none
maillog_file = /var/log/mail.log
`

// baseMaster is the master.cf of every scenario.
const baseMaster = `smtp      inet  n       -       n       -       -       smtpd
` + innerServices

// innerServices are those that every server has: Postfix's own, nothing in a chroot.
const innerServices = `pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
`

// baseZone is in the DNS of every scenario: the stranger from whose address
// clients connect, and one remote domain.
const baseZone = `client.test. A 198.51.100.9
client.test. MX 10 client.test.
9.100.51.198.in-addr.arpa. PTR client.test.
remote.test. MX 10 mail.remote.test.
mail.remote.test. A 192.0.2.10
`

// baseMessage is the text "msg" of every scenario.
const baseMessage = `From: Someone <someone@client.test>
To: Somebody <somebody@example.test>
Subject: a message
Message-Id: <1@client.test>
Date: Mon, 23 Nov 2026 10:00:00 +0000

The body.
.a line with a dot
`

// mainCF is the whole main.cf of a scenario.
func (s *Scenario) mainCF() string {
	own := map[string]bool{}
	for line := range strings.Lines(s.Main) {
		if name, _, ok := strings.Cut(line, "="); ok && line[0] != ' ' && line[0] != '\t' && line[0] != '#' {
			own[strings.TrimSpace(name)] = true
		}
	}
	var b strings.Builder
	for line := range strings.Lines(baseMain) {
		name, _, _ := strings.Cut(line, "=")
		if !own[strings.TrimSpace(name)] {
			b.WriteString(line)
		}
	}
	return b.String() + s.Main
}

// masterCF is the whole master.cf of a scenario.
func (s *Scenario) masterCF() string { return withServices(baseMaster, s.Master) }

// Master is a master.cf, together with the services that every server has and it
// lacks.
func Master(own string) string { return withServices(innerServices, own) }

// withServices is master.cf text behind common services, of which it replaces those
// of the same name and type.
func withServices(common, text string) string {
	key := func(line string) string {
		f := strings.Fields(line)
		if len(f) < 2 || line[0] == ' ' || line[0] == '\t' || line[0] == '#' {
			return ""
		}
		return f[0] + " " + f[1]
	}
	own := map[string]bool{}
	for line := range strings.Lines(text) {
		own[key(line)] = true
	}
	var b strings.Builder
	for line := range strings.Lines(common) {
		if !own[key(line)] {
			b.WriteString(line)
		}
	}
	return b.String() + text
}

// Configure writes the common configuration, with a main.cf part and a
// master.cf part of the caller's over it, to /etc/postfix.
func Configure(main, master string) error {
	s := &Scenario{Main: main, Master: master}
	return s.writeFiles("")
}

// Zone is the common DNS with more lines.
func Zone(more string) string { return baseZone + more }

// writeFiles puts the scenario's files on the machine; dir stands for the
// box's own directory.
func (s *Scenario) writeFiles(dir string) error {
	files := append([]File{
		{Path: "/etc/postfix/main.cf", Text: s.mainCF(), Mode: 0o644},
		{Path: "/etc/postfix/master.cf", Text: s.masterCF(), Mode: 0o644},
		{Path: "/etc/aliases", Text: "postmaster: root\n", Mode: 0o644},
	}, s.Files...)
	if dir != "" {
		files = append([]File{{Path: textPath("msg"), Text: baseMessage, Mode: 0o644}}, files...)
	}
	for _, f := range files {
		if err := f.write(dir); err != nil {
			return err
		}
	}
	return nil
}

// write puts one file on the machine.
func (f File) write(dir string) error {
	path := f.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(f.Text), f.Mode); err != nil {
		return err
	}
	if err := os.Chmod(path, f.Mode); err != nil {
		return err
	}
	if f.Owner == "" {
		return nil
	}
	return chown(path, f.Owner)
}
