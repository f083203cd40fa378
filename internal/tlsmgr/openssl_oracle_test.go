//go:build oracle

package tlsmgr

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestCipherListsAreOpenSSLs compares what lists choose with what OpenSSL chooses
// by them, of the suites that both have.
func TestCipherListsAreOpenSSLs(t *testing.T) {
	t.Parallel()
	lists := []string{
		"ALL", "DEFAULT", "HIGH", "MEDIUM", "aNULL:-aNULL:HIGH:MEDIUM:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:+RC4:@STRENGTH",
		"EDH+CAMELLIA:EDH+aRSA:EECDH+aRSA+AESGCM:EECDH+aRSA+SHA256:EECDH:+CAMELLIA128:+AES128:+SSLv3:!aNULL:!eNULL:!LOW:!3DES:!MD5:!EXP:!PSK:!DSS:!RC4:!SEED:!IDEA:!ECDSA:kEDH:CAMELLIA128-SHA:AES128-SHA",
		"EECDH+ECDSA+AESGCM:EECDH+aRSA+AESGCM:EECDH+ECDSA+SHA384:EECDH+ECDSA+SHA256:EECDH+aRSA+SHA384:EECDH+aRSA+SHA256:EECDH+aRSA+RC4:EECDH:EDH+aRSA:RC4:!aNULL:!eNULL:!LOW:!3DES:!MD5:!EXP:!PSK:!SRP:!DSS",
		"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256", "HIGH:-AES256:!kRSA:AES256-SHA:AES256", "ALL:!AES128:AES128+kRSA",
		"high:HIGH+aRSA", "HIGH:!CBC", "ALL:-ALL:TLSv1.2:!CHACHA20:SSLv3+AES256", "CHACHA20:+AES",
	}
	for i := range suites {
		for _, word := range strings.Fields(suites[i].words) {
			for _, list := range []string{word, "ALL:-" + word, "ALL:!" + word, word + "+AES128", "HIGH+" + word} {
				// HIGH and FIPS are of one kind to OpenSSL, and nothing is both.
				if !slices.Contains(lists, list) && list != "HIGH+FIPS" {
					lists = append(lists, list)
				}
			}
		}
	}
	for _, list := range lists {
		out, _ := exec.Command("openssl", "ciphers", "-s", "-tls1_2", list+":@SECLEVEL=0").CombinedOutput() // an empty list is an error
		theirs := strings.Split(strings.TrimSpace(string(out)), ":")
		g := Grades{High: list}
		ids, _, _ := g.Suites("p", "high", "")
		ours := suiteNames(ids)
		for i := range suites {
			name := suites[i].name
			if slices.Contains(ours, name) != slices.Contains(theirs, name) {
				t.Errorf("%s: %s is chosen by us %v, by OpenSSL %v", list, name, slices.Contains(ours, name), slices.Contains(theirs, name))
			}
		}
	}
	t.Logf("%d lists compared", len(lists))
}
