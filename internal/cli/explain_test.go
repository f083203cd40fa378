package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/postconf"
)

func TestExplainCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": "compatibility_level = 3.11\n", "master.cf": "smtp inet n - n - - smtpd\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	answer := &Explanation{
		Service: "smtp/inet (master.cf, line 1)", Client: "c.test[192.0.2.1]", Warnings: []string{"a table is away"},
		Limits: []NamedValue{{"message_size_limit", "1"}},
		Recipients: []Explained{
			{Recipient: "a@b", Steps: []ExplainStep{
				{Depth: 1, List: "smtpd_relay_restrictions", File: "main.cf", Line: 3, Rule: "permit_mynetworks", Outcome: "no match"},
				{Depth: 2, List: "smtpd_relay_restrictions", Index: 1, Rule: "strict", Outcome: "reject", Key: "k", Reply: "554 5.7.1 no"},
			}, Reply: "554 5.7.1 no (at RCPT)"},
			{Recipient: "c@d", Reply: "250 2.1.5 Ok", Accepted: true, Sender: "s@t", Rewritten: "e@f", Ends: []ExplainedEnd{
				{Address: "e@f", Class: "local", Transport: "local", Nexthop: "f", Program: "local", Origin: "master.cf, line 4", TLS: "may"},
				{Address: "g@h", Error: "no answer"},
			}},
		},
	}
	tests := []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"people", []string{"-client", "c.test[192.0.2.1]", "a@b"}, 1, []string{
			"service smtp/inet (master.cf, line 1)\nclient  c.test[192.0.2.1]\nwarning a table is away\n",
			"  smtpd_relay_restrictions (main.cf, line 3)\n    1. permit_mynetworks: no match\n      2. strict: reject, key k, 554 5.7.1 no\n",
			"  envelope: from <s@t> to <e@f>\n  -> <e@f> class local, transport local, next hop f, local (master.cf, line 4), TLS may\n  -> <g@h> deferred: no answer\n",
			"limits\n  message_size_limit = 1\n",
		}},
		{"programs", []string{"-json", "a@b"}, 1, []string{`"recipient": "a@b"`, `"accepted": true`}},
		{"nobody", nil, 1, []string{"usage: postroad explain"}},
		{"bad client", []string{"-client", "name", "a@b"}, 1, []string{`bad client "name"`}},
		{"bad flag", []string{"-nosuch"}, 1, []string{"flag provided but not defined: -nosuch"}},
		{"no answer", []string{"-sender", "fail@x", "a@b"}, 1, []string{"explain: fatal: it went wrong"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			e := &Env{Prog: "explain", Args: append([]string{"-c", dir}, tt.args...), Stdout: &out, Stderr: &out}
			e.Host.Explain = func(_ context.Context, _ *postconf.Config, q *Question) (*Explanation, error) {
				if q.Sender == "fail@x" {
					return nil, errors.New("it went wrong")
				}
				return answer, nil
			}
			if code := runExplain(e); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
