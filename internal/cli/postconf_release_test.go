package cli

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

// pcDefaultsDiffer has the parameters whose default is not the one that a given
// build of Postfix shows, and why.
var pcDefaultsDiffer = map[string]string{
	"alias_maps":        "a build with NIS adds nis:mail.aliases, which we refuse",
	"command_directory": "where the build was installed",
	"daemon_directory":  "where the build was installed",
	"mailq_path":        "where the build was installed",
	"meta_directory":    "where the build was installed",
	"newaliases_path":   "where the build was installed",
	"process_id":        "the process",
	"sendmail_path":     "where the build was installed",
	"smtpd_sasl_type":   "cyrus, as documented; a build without Cyrus SASL has dovecot",
}

// pcRelease is how many generated runs are recorded.
const pcRelease = 2000

// ofHost tells whether what a run shows depends on the host.
func (c *pcCase) ofHost() bool {
	if strings.HasPrefix(c.args[0], "-") && strings.ContainsAny(c.args[0], "dx") {
		return true
	}
	for _, arg := range c.args {
		switch arg {
		case "myhostname", "mydomain", "mynetworks":
			return true
		}
	}
	return false
}

// digest is a short form of a result.
func digest(result string) string {
	sum := sha256.Sum256([]byte(result))
	return fmt.Sprintf("%x", sum[:4])
}

// TestPostconfRelease compares generated runs with what Postfix 3.11.6 did: the
// file has a digest of each result, written by TestPostconfRecord.
func TestPostconfRelease(t *testing.T) {
	data, err := os.ReadFile("testdata/postconf/release.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(data))
	if len(want) != pcRelease {
		t.Fatalf("%d runs are recorded, want %d", len(want), pcRelease)
	}
	g := newPCGenerator(t, postconfCases)
	dir := t.TempDir()
	same, wrong := 0, 0
	for n := range uint64(pcRelease) {
		c := g.run(n)
		if want[n] == "-" {
			continue
		}
		got := c.runOurs(t, dir)
		if digest(got) == want[n] {
			same++
		} else if wrong++; wrong <= 5 {
			t.Errorf("run %d (%s): postconf %q:\n%s", n, c.config, c.args, got)
		}
	}
	if wrong > 0 {
		t.Errorf("%d runs do not agree", wrong)
	}
	t.Logf("%d runs agree", same)
}

// TestPostconfDefaults compares the defaults with those of Postfix 3.11.6, name by
// name and value by value. The file has what its "postconf -d" printed, without the
// values that depend on the host.
func TestPostconfDefaults(t *testing.T) {
	t.Parallel()
	want := recordedDefaults(t)
	dir := t.TempDir()
	empty := pcCase{}
	empty.write(t, dir)
	_, out := runPostconfWith(dir, "-d")
	seen := 0
	for name, value := range readDefaults(out) {
		theirs, known := want[name]
		delete(want, name)
		seen++
		switch reason := pcDefaultsDiffer[name]; {
		case !known:
			t.Errorf("Postfix has no parameter %s", name)
		case ofHostName(name):
		case value == theirs && reason != "":
			t.Errorf("%s does not differ from Postfix any more (%s)", name, reason)
		case value != theirs && reason == "":
			t.Errorf("%s =%s, and in Postfix =%s", name, value, theirs)
		}
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
	t.Logf("%d parameters", seen)
}

// recordedDefaults are those of Postfix 3.11.6.
func recordedDefaults(t testing.TB) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/postconf/defaults.txt")
	if err != nil {
		t.Fatal(err)
	}
	return readDefaults(string(data))
}

// readDefaults reads what "postconf -d" prints.
func readDefaults(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " =")
		out[name] = value
	}
	return out
}

// ofHostName tells whether the default of a parameter is computed from the host.
func ofHostName(name string) bool {
	return name == "myhostname" || name == "mydomain" || name == "mynetworks" || name == "process_id"
}
