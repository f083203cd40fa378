package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/postconf"
)

// examine writes a configuration into a directory and returns what is found, a
// line each, with DIR for the directory.
func examine(t *testing.T, main, master string, files map[string]os.FileMode) []string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask says
			t.Fatal(err)
		}
	}
	write("main.cf", "compatibility_level = 3.11\nmyhostname = mx.example.test\nmynetworks = 127.0.0.0/8\n"+main, 0o644)
	write("master.cf", master, 0o644)
	for name, mode := range files {
		write(name, "a b\n", mode)
	}
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{})
	var out []string
	for _, f := range Run(cfg, problems) {
		place := ""
		if f.Line > 0 {
			place = fmt.Sprintf(" %s:%d", filepath.Base(f.File), f.Line)
		}
		out = append(out, strings.ReplaceAll(fmt.Sprintf("%s %s%s: %s", f.Severity, f.Code, place, f.Text), dir, "DIR"))
	}
	return out
}

const stock = "smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\nlocal unix - n n - - local\n"

func TestFindings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, main, master string
		files              map[string]os.FileMode
		want               []string
	}{
		{"nothing", "", stock, nil, nil},
		{"tables", "virtual_alias_maps = texthash:DIR/there, hash:DIR/away, inline:{a@b=c}\nsmtpd_recipient_restrictions =\n\tcheck_recipient_access cidr:DIR/gone, reject_unauth_destination\n",
			stock, map[string]os.FileMode{"there": 0o644}, []string{
				"warning table main.cf:4: table hash:DIR/away: open database DIR/away.db: No such file or directory",
				"warning table main.cf:5: table cidr:DIR/gone: open DIR/gone: No such file or directory",
			}},
		{"types", "virtual_alias_maps = foo:bar, nis:x, proxy:mongodb:/y\nheader_checks = pcer:/x\nsmtpd_milters = inet:1.2.3.4:1\n", stock, nil, []string{
			"error table main.cf:4: table foo:bar: unsupported dictionary type: foo",
			"error table main.cf:5: table pcer:/x: unsupported dictionary type: pcer",
			"warning table main.cf:4: table nis:x: unsupported dictionary type: nis; copy the map with ypcat(1) to a file for hash or lmdb, or use ldap",
			"warning table main.cf:4: table proxy:mongodb:/y: unsupported dictionary type: mongodb; use mysql, pgsql, ldap or a file instead",
		}},
		{"servers", "virtual_alias_maps = socketmap:unix:DIR/away:x, proxy:socketmap:unix:DIR/away:y\n", stock, nil, []string{
			"warning table main.cf:4: table socketmap:unix:DIR/away:x does not answer: connect to DIR/away: No such file or directory",
			"warning table main.cf:4: table proxy:socketmap:unix:DIR/away:y does not answer: connect to DIR/away: No such file or directory",
		}},
		{"caches", "postscreen_cache_map = proxy:memcache:/m.cf\naddress_verify_map = memcache:/m.cf\n", stock + "postscreen unix - - n - - postscreen\nverify unix - - n - 1 verify\n", nil, []string{
			"warning shared-cache main.cf:4: postscreen_cache_map = proxy:memcache:/m.cf: the clients that passed are remembered in the memory of this server, and others do not see it",
			"warning shared-cache main.cf:5: address_verify_map = memcache:/m.cf: what is known about addresses is kept beside the queue of this server, and others do not see it",
		}},
		{"table settings", "virtual_alias_maps = mysql:DIR/my.cf\n", stock, map[string]os.FileMode{"my.cf": 0o600}, []string{
			"warning table main.cf:4: table mysql:DIR/my.cf: DIR/my.cf, line 1: missing '=' after attribute name",
			"warning table-settings my.cf:1: missing '=' after attribute name"}},
		{"no tables", "smtpd_milters = unix:/run/x, inet:1.2.3.4:1\nmailbox_transport = lmtp:unix:private/x\nsmtpd_recipient_restrictions = check_policy_service unix:private/p, reject_unauth_destination\n", stock, nil, nil},
		{"secrets", "smtpd_tls_key_file = DIR/open.key\nsmtpd_tls_cert_file = DIR/open.key\nsmtp_sasl_password_maps = texthash:DIR/safe\nlmtp_tls_key_file = DIR/gone.key\n",
			stock + "lmtp unix - - n - - lmtp\n", map[string]os.FileMode{"open.key": 0o644, "safe": 0o600}, []string{
				"warning secret main.cf:4: DIR/open.key holds a secret and everybody can read it (mode 0644)",
				"warning secret main.cf:7: DIR/gone.key: no such file",
			}},
		{"collision", "", stock + "25 inet n - n - - smtpd\n127.0.0.1:25 inet n - n - - smtpd\n", nil, []string{
			"error collision master.cf:5: service 127.0.0.1:25/inet wants an address of service 25/inet (DIR/master.cf, line 4)",
			"warning collision master.cf:1: entry for service smtp/inet is not used: a later one replaces it"}},
		{"no collision", "inet_interfaces = 192.0.2.1\n", stock + "127.0.0.1:25 inet n - n - - smtpd\n", nil, nil},
		{"unused", "postscreen_greet_wait = 3s\nslow_destination_rate_delay = 1s\n", stock, nil, []string{
			"warning unused main.cf:5: slow_destination_rate_delay is set, and master.cf has no service slow",
			"note unused main.cf:4: postscreen_greet_wait is set, and no service in master.cf runs postscreen"}},
		{"the same port", "", stock + "127.0.0.1:lmtp inet n - n - - smtpd\n24 inet n - n - - smtpd\n", nil, []string{
			"error collision master.cf:5: service 24/inet wants an address of service 127.0.0.1:lmtp/inet (DIR/master.cf, line 4)"}},
		{"twice", "mydestination = a.test, b.test\nvirtual_mailbox_domains = inline:{b.test=x}\nrelay_domains = $mydestination, c.test\n", stock, nil, []string{
			"warning domain-twice main.cf:5: domain b.test is in mydestination and in virtual_mailbox_domains"}},
		{"open by network", "mynetworks = 10.0.0.0/8 0.0.0.0/0 [::]/0\n", stock, nil, []string{
			"error open-relay main.cf:4: mynetworks trusts 0.0.0.0/0: everybody in it may relay",
			"error open-relay main.cf:4: mynetworks trusts [::]/0: everybody in it may relay"}},
		{"open by permit", "smtpd_relay_restrictions = permit_mynetworks, permit\n", stock, nil, []string{
			`error open-relay master.cf:1: service smtp/inet permits every recipient: nothing before "permit" refuses foreign destinations`}},
		{"chroot", "", "smtp inet n - y - - smtpd\nspf unix - n y - 0 spawn user=nobody argv=/bin/cat\n", nil, []string{"note chroot master.cf:1: chroot is not applied: smtp/inet"}},
		{"habits", "smtp_tls_security_level = encrypt\nmessage_size_limit = 0\n", stock, nil, []string{
			"warning habit main.cf:4: smtp_tls_security_level = encrypt: mail for every site without TLS waits until it is returned",
			"warning habit main.cf:5: message_size_limit = 0: there is no limit: one message can fill the disk"}},
		{"not loaded", "message_size_limit = big\n", stock, nil, []string{
			"error configuration main.cf:4: bad numerical configuration: message_size_limit = big"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := examine(t, tt.main, tt.master, tt.files)
			var kept []string
			for _, line := range got {
				// What loading says is tested where it is said.
				if tt.name == "not loaded" || !strings.Contains(line, " configuration ") {
					kept = append(kept, line)
				}
			}
			if strings.Join(kept, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(kept, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestSeverities: a problem that keeps nothing from working is no error.
func TestSeverities(t *testing.T) {
	t.Parallel()
	cfg, _ := postconf.Parse("/etc/postfix", []byte("myhostname = mx.example.test\n"), []byte(stock), postconf.LoadOptions{})
	got := map[string]Severity{}
	for _, f := range Run(cfg, []postconf.Problem{{Text: "one", Fatal: true}, {Text: "two"}, {Text: "three", Note: true}}) {
		got[f.Text] = f.Severity
	}
	if got["one"] != Error || got["two"] != Warning || got["three"] != Note {
		t.Errorf("%v", got)
	}
}

// TestPlaces: where a table stands first, in main.cf or for one service.
func TestPlaces(t *testing.T) {
	t.Parallel()
	cfg, problems := postconf.Parse("/etc/postfix", []byte("mynetworks = !cidr:/no, cidr:/yes\nvirtual_alias_maps = hash:/v\nmydestination = hash:/v\n"),
		[]byte("smtp inet n - n - - smtpd\n  -o relay_domains=hash:/r\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	place := Places(cfg)
	for spec, want := range map[string]string{
		"cidr:/no": "/etc/postfix/main.cf, line 1", "cidr:/yes": "/etc/postfix/main.cf, line 1", "hash:/v": "/etc/postfix/main.cf, line 2",
		"hash:/r": "/etc/postfix/master.cf, line 1", "hash:/x": "",
	} {
		if got := place(spec); got != want {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
}

// FuzzSpecs: whatever stands in a value, what is taken for a table is part of it.
func FuzzSpecs(f *testing.F) {
	f.Add("check_client_access hash:/x, !cidr:{ {1.2.3.4 OK} } unix:/y")
	f.Fuzz(func(t *testing.T, value string) {
		for _, spec := range specs(value) {
			if !strings.Contains(value, spec) {
				t.Errorf("%q is not in %q", spec, value)
			}
		}
	})
}
