package main

import (
	"bytes"
	"strings"
	"testing"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
)

// TestProbeSender: probes come from an address that can get mail, or from nobody.
func TestProbeSender(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]struct {
		sender mail.Address
		wrong  string
	}{
		"":                  {"double-bounce@mx.test", ""},
		"<>":                {"", ""},
		"prober":            {"prober@mx.test", ""},
		"prober@other.test": {"prober@other.test", ""},
		"@other.test":       {"", "must not start or end with '@'"},
		"prober@":           {"", "must not start or end with '@'"},
	} {
		main := "compatibility_level = 3.11\nmyhostname = mx.test\nalias_maps =\nqueue_directory = " + t.TempDir() + "\n"
		if value != "" {
			main += "address_verify_sender = " + value + "\n"
		}
		cfg, problems := postconf.Parse("/etc/postfix", []byte(main), []byte("verify unix - - n - 1 verify\n"), postconf.LoadOptions{})
		if postconf.HasFatal(problems) {
			t.Fatal(problems)
		}
		log, err := event.OpenLog(event.LogOptions{File: "/dev/stdout", Stdout: &bytes.Buffer{}})
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{rt: &master.Runtime{Log: log, Folded: true}, users: &privdeliver.Users{}, spool: &notebook{}}
		gen, err := b.build(&master.Generation{Number: 1, Config: cfg})
		if want.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), want.wrong) {
				t.Errorf("%q: %v", value, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if got := gen.verify.From.Address; got != want.sender {
			t.Errorf("%q: probes come from <%s>, want <%s>", value, got, want.sender)
		}
		gen.close()
	}
}
