package cleanup

import (
	"strings"
	"testing"

	"postroad/internal/mail"
)

// TestEncodedNames has the From header that Postfix 3.11.6 adds for full names, in
// both forms of header_from_format.
func TestEncodedNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, standard, obsolete string }{
		{"éééééééééé", "=?utf-8?B?w6nDqcOpw6nDqcOpw6nDqcOpw6k=?= <joe@example.com>", "joe@example.com (=?utf-8?B?w6nDqcOpw6nDqcOpw6nDqcOpw6k=?=)"},
		{"aaaaaaaaaaéééééé", "=?utf-8?B?YWFhYWFhYWFhYcOpw6nDqcOpw6nDqQ==?= <joe@example.com>", "joe@example.com (=?utf-8?B?YWFhYWFhYWFhYcOpw6nDqcOpw6nDqQ==?=)"},
		{"aaaaaaaaaaaaéééé", "=?utf-8?Q?aaaaaaaaaaaa=C3=A9=C3=A9=C3=A9=C3=A9?=\n\t<joe@example.com>", "joe@example.com\n\t(=?utf-8?Q?aaaaaaaaaaaa=C3=A9=C3=A9=C3=A9=C3=A9?=)"},
		{"a a a a a a a a a é", "=?utf-8?B?YSBhIGEgYSBhIGEgYSBhIGEgw6k=?= <joe@example.com>", "joe@example.com (=?utf-8?B?YSBhIGEgYSBhIGEgYSBhIGEgw6k=?=)"},
		{"a a a a a a a é aaaa", "=?utf-8?B?YSBhIGEgYSBhIGEgYSDDqSBhYWFh?= <joe@example.com>", "joe@example.com (=?utf-8?B?YSBhIGEgYSBhIGEgYSDDqSBhYWFh?=)"},
		{" a  b\t\tJöe ", "=?utf-8?Q?a_b_J=C3=B6e?= <joe@example.com>", "joe@example.com (=?utf-8?Q?a_b_J=C3=B6e?=)"},
		{"\"Jöe\"", "joe@example.com", "joe@example.com (=?utf-8?Q?\"J=C3=B6e\"?=)"},
		{"J\"ö\"e", "=?utf-8?Q?J=22=C3=B6=22e?= <joe@example.com>", "joe@example.com (=?utf-8?Q?J\"=C3=B6\"e?=)"},
		{"J.ö'x\"y(z)\\a_b=c?d", "=?utf-8?Q?J=2E=C3=B6=27x=22y=28z=29=5Ca=5Fb=3Dc=3Fd?=\n\t<joe@example.com>", "joe@example.com\n\t(=?utf-8?Q?J.=C3=B6'x\"y=28z=29=5Ca=5Fb=3Dc=3Fd?=)"},
		{"[ö] <x>,;: & 100%!*+-/", "=?utf-8?B?W8O2XSA8eD4sOzogJiAxMDAlISorLS8=?= <joe@example.com>", "joe@example.com (=?utf-8?Q?[=C3=B6]_<x>,;:_&_100%!*+-/?=)"},
		{"öööööööööööööööööööööööööööööööööööööööö", "=?utf-8?B?w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bD?=\n\t=?utf-8?B?tsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7Y=?=\n\t<joe@example.com>", "joe@example.com\n\t(=?utf-8?B?w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bD?=\n\t=?utf-8?B?tsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7Y=?=)"},
		{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxöööööyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", "=?utf-8?Q?xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=C3=B6=C3=B6=C3=B6=C3=B6=C3=B6yyy?=\n\t=?utf-8?Q?yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy?= <joe@example.com>", "joe@example.com\n\t(=?utf-8?Q?xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=C3=B6=C3=B6=C3=B6=C3=B6=C3=B6yyy?=\n\t=?utf-8?Q?yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy?=)"},
		{"ö", "=?utf-8?Q?=C3=B6?= <joe@example.com>", "joe@example.com (=?utf-8?Q?=C3=B6?=)"},
		{"aaa ééé é é é é a a", "=?utf-8?B?YWFhIMOpw6nDqSDDqSDDqSDDqSDDqSBhIGE=?=\n\t<joe@example.com>", "joe@example.com\n\t(=?utf-8?B?YWFhIMOpw6nDqSDDqSDDqSDDqSDDqSBhIGE=?=)"},
		{"a\x01b ö\x7fc", "=?utf-8?Q?a_b_=C3=B6_c?= <joe@example.com>", "joe@example.com (=?utf-8?Q?a_b_=C3=B6_c?=)"},
	} {
		for format, want := range map[string]string{"standard": tt.standard, "obsolete": tt.obsolete} {
			if got := fromOf(t, "header_from_format = "+format+"\n", tt.name); got != want {
				t.Errorf("%s %q:\n%q\nwant\n%q", format, tt.name, got, want)
			}
		}
	}
	// No character set, no name.
	for _, charset := range []string{"utf 8", "utf-8=", strings.Repeat("x", 40)} {
		if got := fromOf(t, "full_name_encoding_charset = "+charset+"\n", "J\u00f6e"); got != "joe@example.com" {
			t.Errorf("charset %q: %q", charset, got)
		}
	}
}

// fromOf is the From header of a message that comes without one.
func fromOf(t *testing.T, config, name string) string {
	t.Helper()
	s, p := service(t, config)
	m, err := s.Begin(t.Context(), Options{Origin: mail.OriginLocal, FullName: name})
	if err != nil {
		t.Fatal(err)
	}
	m.SetSender("joe@example.com", SenderParams{})
	m.AddRecipient(mail.Recipient{Address: "r@dst.test"})
	_, _ = m.Write([]byte("To: r@dst.test\r\n\r\n"))
	m.Finish(t.Context())
	_, after, _ := strings.Cut(p.String(), "\r\nFrom: ")
	from, _, _ := strings.Cut(after, "\r\n\r\n")
	return strings.ReplaceAll(from, "\r\n", "\n")
}
