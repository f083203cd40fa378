//go:build oracle

package tls

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// grades are the services whose protocols, suites and groups are compared.
var grades = []service{
	{"default", nil},
	{"TLS 1.2 and up", []string{"smtpd_tls_protocols = >=TLSv1.2"}},
	{"old words", []string{"smtpd_tls_protocols = !SSLv2,!SSLv3,!TLSv1,!TLSv1.1"}},
	{"TLS 1.2 only", []string{"smtpd_tls_protocols = TLSv1.2"}},
	{"not TLS 1.2", []string{"smtpd_tls_protocols = >=TLSv1, !TLSv1.2"}},
	{"up to TLS 1.2", []string{"smtpd_tls_protocols = >=TLSv1, <=TLSv1.2", "smtpd_tls_ciphers = high"}},
	{"exclude", []string{"smtpd_tls_exclude_ciphers = aNULL, MD5, DES, 3DES, RC4, kRSA, SHA1"}},
	{"exclude by name", []string{"smtpd_tls_exclude_ciphers = ECDHE-RSA-AES256-GCM-SHA384, aECDSA+AES128, CHACHA20"}},
	{"encrypt", []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_mandatory_ciphers = high", "smtpd_tls_mandatory_protocols = TLSv1.2, TLSv1.3",
		"smtpd_tls_exclude_ciphers = AES128", "smtpd_tls_mandatory_exclude_ciphers = kRSA, CBC", "smtpd_tls_protocols = TLSv1.3"}},
	{"Mozilla", []string{"tls_medium_cipherlist = ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"}},
	{"camellia first", []string{"smtpd_tls_ciphers = high", "tls_high_cipherlist = EDH+CAMELLIA:EDH+aRSA:EECDH+aRSA+AESGCM:EECDH+aRSA+SHA256:EECDH:+CAMELLIA128:+AES128:+SSLv3:!aNULL:!eNULL:!LOW:!3DES:!MD5:!EXP:!PSK:!DSS:!RC4:!SEED:!IDEA:!ECDSA:kEDH:CAMELLIA128-SHA:AES128-SHA"}},
	{"no curve", []string{"smtpd_tls_eecdh_grade = none"}},
	{"ultra curve", []string{"smtpd_tls_eecdh_grade = ultra"}},
	{"curves", []string{"tls_eecdh_auto_curves = secp521r1 X25519", "tls_ffdhe_auto_groups ="}},
	{"RSA only", []string{"smtpd_tls_chain_files = %D/rsa.pem"}},
	{"EC only", []string{"smtpd_tls_chain_files ="}}, // replaced below
}

// notOurs are the suites and groups that Go does not have; docs/tls.md lists them.
var notOurs = []struct{ what, pattern string }{
	{"finite-field Diffie-Hellman", `^DHE-|^ADH-|^ffdhe`},
	{"no authentication", `^ADH-|^AECDH-`},
	{"Camellia, ARIA, CCM", `CAMELLIA|ARIA|CCM`},
	{"CBC with SHA-384, and with SHA-256 for 256 bits", `^ECDHE-(ECDSA|RSA)-AES256-SHA384$|^AES256-SHA256$`},
	{"X448", `^X448$`},
}

// theirsOnly removes what Postfix has and Go cannot have.
func theirsOnly(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		for _, n := range notOurs {
			if regexp.MustCompile(n.pattern).MatchString(name) {
				return true
			}
		}
		return false
	})
}

// oursOnly are groups that Postfix has only with a newer OpenSSL.
func oursOnly(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "X25519MLKEM768" })
}

// TestSuites compares what both servers accept under the same settings.
func TestSuites(t *testing.T) {
	certs, all := certificates(t), allSuites(t)
	services := slices.Clone(grades)
	services[len(services)-1].settings = []string{"smtpd_tls_chain_files =", "smtpd_tls_eccert_file = %D/ec.pem"}
	ports := testkit.FreePorts(t, 2*len(services))
	results := map[string]map[string][]string{"postfix": {}, "postroad": {}}
	t.Run("scan", func(t *testing.T) {
		for i, name := range []string{"postfix", "postroad"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := start(t, name, certs, ports[i*len(services):], services)
				for _, svc := range services {
					for _, version := range []uint16{tls10, tls11, tls12, tls13} {
						results[name][svc.name+", "+versionNames[version]] = accepted(t, s.ports[svc.name], version, all)
					}
					results[name][svc.name+", groups"] = slices.Sorted(maps.Keys(groups(t, s.ports[svc.name])))
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	compared, same := 0, 0
	for _, what := range slices.Sorted(maps.Keys(results["postfix"])) {
		theirs, ours := theirsOnly(results["postfix"][what]), oursOnly(results["postroad"][what])
		t.Logf("%s: Postfix accepts %d, Postroad %d", what, len(results["postfix"][what]), len(results["postroad"][what]))
		slices.Sort(theirs)
		slices.Sort(ours)
		compared++
		if slices.Equal(theirs, ours) {
			same++
		} else {
			t.Errorf("%s\nPostfix  %s\nPostroad %s", what, strings.Join(theirs, " "), strings.Join(ours, " "))
		}
	}
	t.Logf("%d sets compared, %d are the same but for what Go does not have", compared, same)
	if len(results["postroad"]["default, TLSv1.2"]) < 15 {
		t.Error(fmt.Sprint("scan found next to nothing: ", results["postroad"]["default, TLSv1.2"]))
	}
}
