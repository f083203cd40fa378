//go:build oracle

package tables

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusedTypes starts a server whose maps are of types that it does not serve:
// the log says where they stand and what to use, and mail that needs them waits.
func TestRefusedTypes(t *testing.T) {
	t.Parallel()
	const users = "inline:{ {known@example.test=x} }"
	for _, test := range []struct {
		table, instead string
		maps           specs
		line           string
	}{
		{"nis:mail.aliases", "ypcat", specs{"aliases": "nis:mail.aliases"}, ""},
		{"proxy:mongodb:/etc/m.cf", "use mysql, pgsql, ldap or a file", specs{"mailboxes": "proxy:mongodb:/etc/m.cf"}, ""},
		{"nisplus:x", "use ldap or a file", specs{}, "transport_maps = nisplus:x"},
		{"netinfo:x", "use ldap or a file", specs{"domains": "netinfo:x"}, ""},
		{"sdbm:/etc/access", "use lmdb, cdb or hash", specs{}, "smtpd_recipient_restrictions = check_recipient_access sdbm:/etc/access, reject_unauth_destination"},
		{"dbm:/etc/access", "use lmdb, cdb or hash", specs{}, "smtpd_sender_restrictions = check_sender_access dbm:/etc/access"},
		{"nosuch:x", "unsupported dictionary type", specs{"aliases": "nosuch:x"}, ""},
	} {
		t.Run(test.table, func(t *testing.T) {
			t.Parallel()
			maps := specs{"domains": "inline:{ {example.test=x} }", "mailboxes": users}
			for name, spec := range test.maps {
				maps[name] = spec
			}
			s := newSite(t)
			s.start(t, maps, test.line)
			for _, rcpt := range []string{"known@example.test", "nobody@example.test"} {
				if code := s.ask(rcpt); code != 451 && !(code == 550 && rcpt != "known@example.test") {
					t.Errorf("%s: %d", rcpt, code)
				}
			}
			config, err := os.ReadFile(filepath.Join(s.Dir, "etc", "main.cf"))
			must(t, err)
			before, _, _ := strings.Cut(string(config), test.table)
			place := fmt.Sprintf("(%s/etc/main.cf, line %d)", s.Dir, 1+strings.Count(before, "\n"))
			eventually(t, "the log says what to use instead of "+test.table+" "+place, func() bool {
				for line := range strings.Lines(s.Log(0)) {
					if strings.Contains(line, test.table+" is unavailable. unsupported dictionary type: ") && strings.Contains(line, test.instead) && strings.Contains(line, place) {
						return true
					}
				}
				return false
			})
		})
	}
}
