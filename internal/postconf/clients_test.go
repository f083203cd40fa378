package postconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClientFiles: what is wrong with the file of a database is told, and no secret.
func TestClientFiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"hosts = a\nuser = b\ndbname = c\nquery = d\n": "",
		"hosts = a\nhostz = b\npasswort = sesame\n":    "FILE: unused parameter: hostz=b|FILE: unused parameter: passwort=...",
		"password = sesame\npassword = open\n":         "FILE, line 2: overriding earlier entry: password=...",
		"  password = sesame\n":                        `FILE, line 1: logical line must not start with whitespace: "..."`,
		"  sesame\n":                                   `FILE, line 1: logical line must not start with whitespace: "..."`,
		"  hosts = a\n":                                `FILE, line 1: logical line must not start with whitespace: "  hosts = a"`,
		"password sesame\nhostz = b\n":                 "FILE, line 1: missing '=' after attribute name",
		"\x00":                                         "FILE, line 1: missing '=' after attribute name",
	} {
		file := filepath.Join(t.TempDir(), "my.cf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, problems := Parse("/etc/postfix", []byte("virtual_alias_maps = proxy:mysql:"+file+"\ntransport_maps = mysql:"+file+"\n"), nil, LoadOptions{})
		if HasFatal(problems) {
			t.Fatal(problems)
		}
		var got []string
		for _, p := range cfg.Usage(nil).ClientFiles() {
			got = append(got, strings.ReplaceAll(p.Error(), file, "FILE"))
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
	cfg, _ := Parse("/etc/postfix", []byte("virtual_alias_maps = mysql:/no/such/file, pgsql:/, hash:/no/such\n"), nil, LoadOptions{})
	var got []string
	for _, p := range cfg.Usage(nil).ClientFiles() {
		got = append(got, p.Text)
	}
	want := []string{`open "mysql" configuration "/no/such/file": No such file or directory`, `open "pgsql" configuration "/": not a regular file`}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q, want %q", got, want)
	}
}
