package bounce

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// templatesOf reads a file of templates and returns what was said about it.
func templatesOf(text string) (*Templates, string, error) {
	t := testTexts("standard")
	var said []string
	err := t.parse("f", text, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	return t, strings.Join(said, "; "), err
}

func TestTemplateFile(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in, subject, text, said, err string
	}{
		"whole":       {"# c\n\nfailure_template = <<EOF\nCharset: utf-8\nsubject: s\n\nt\xc3\xa4\nEOF\n", "s", "t\xc3\xa4\n", "", ""},
		"no header":   {"failure_template = <<EOF\nno header\nEOF\n", "Undelivered Mail Returned to Sender", "no header\n", "", ""},
		"spaces":      {"failure_template=<< EOF\n\n a\nEOF\n", "Undelivered Mail Returned to Sender", " a\n", "", ""},
		"last counts": {"failure_template = <<A\n\n1\nA\nfailure_template = <<B\n\n2\nB\n", "Undelivered Mail Returned to Sender", "2\n", "", ""},
		"no end":      {"failure_template = <<EOF\n\na\n", "Undelivered Mail Returned to Sender", "a\n", `f, line 4: missing "EOF" end marker`, ""},
		"label":       {"failure_template = <<EOF\nX-Y: s\n\na\nEOF\n", "", "", `f: unknown "X-Y" header label in failure template -- ignoring this template`, ""},
		"empty value": {"failure_template = <<EOF\nSubject:\n\na\nEOF\n", "", "", `f: empty "Subject" header value in failure template -- ignoring this template`, ""},
		"8-bit value": {"failure_template = <<EOF\nSubject: \xe4\n\na\nEOF\n", "", "", `f: non-ASCII "Subject" header value in failure template -- ignoring this template`, ""},
		"8-bit text":  {"failure_template = <<EOF\n\n\xe4\nEOF\n", "", "", "f: 8-bit message text in failure template; please specify a charset value other than us-ascii; -- ignoring this template for now", ""},
		"no text":     {"failure_template = <<EOF\nEOF\n", "", "", "f: missing message text in failure template -- ignoring this template", ""},
		"other":       {"other_template = <<EOF\n\na\nEOF\n", "", "", "f, line 5: unknown template name: other_template -- ignoring this template", ""},
		"syntax":      {"failure_template: x\n", "", "", "", `f, line 2: missing '=' after attribute name: "failure_template: x"`},
	} {
		tpls, said, err := templatesOf(test.in)
		if said != test.said || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: said %q, error %v", name, said, err)
		}
		want := tpls.builtIn["failure"]
		if test.text != "" {
			want.subject, want.text = test.subject, test.text
		}
		if got := tpls.byLabel["failure"]; got.subject != want.subject || got.text != want.text {
			t.Errorf("%s: subject %q, text %q", name, got.subject, got.text)
		}
	}
}

func TestTemplateText(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"$myhostname costs $$1":              "mx.test costs $1",
		"${delay_warning_time_minutes}m":     "240m",
		"$delay_warning_time_days":           "0",
		"$maximal_queue_lifetime_seconds":    "432000",
		"$nothing":                           "",
		"$maximal_queue_lifetime_fortnights": "",
		"${broken":                           "",
	} {
		tpls, _, err := templatesOf("delay_template = <<EOF\n\n" + line + "\nEOF\n")
		if err != nil {
			t.Fatal(err)
		}
		warned := 0
		got, err := tpls.expand("delay", func(string, ...any) { warned++ })
		if (err != nil) != (want == "") || err == nil && got != want+"\n" {
			t.Errorf("%s: %q %v", line, got, err)
		}
		if (warned > 0) != (want == "0") {
			t.Errorf("%s: %d warnings", line, warned)
		}
		tpls.check(func(string, ...any) {})
		if replaced := tpls.byLabel["delay"].file == "[built-in]"; replaced != (want == "") {
			t.Errorf("%s: replaced %v", line, replaced)
		}
	}
}

func TestDump(t *testing.T) {
	t.Parallel()
	tpls := testTexts("obsolete")
	var first, again, text strings.Builder
	tpls.Dump(&first)
	copied := testTexts("standard")
	if err := copied.parse("f", first.String(), func(string, ...any) { t.Error("a dump is no file") }); err != nil {
		t.Fatal(err)
	}
	copied.Dump(&again)
	if first.String() != again.String() {
		t.Errorf("a dump that was read gives another:\n%s", again.String())
	}
	if err := tpls.DumpText(&text, func(string, ...any) { t.Error("a warning") }); err != nil || strings.Contains(text.String(), "$") {
		t.Errorf("%v\n%s", err, text.String())
	}
	failing := BuiltIn("standard", func(string) (string, bool, error) { return "", true, errors.New("no") })
	if failing.DumpText(&text, func(string, ...any) {}) == nil {
		t.Error("an unknown value is no error")
	}
}

func FuzzTemplates(f *testing.F) {
	f.Add("failure_template = <<EOF\nSubject: s\n\n$myhostname\nEOF\n")
	f.Add("delay_template = <<X\n\n${a?b}{c}\n")
	f.Fuzz(func(t *testing.T, text string) {
		tpls, _, _ := templatesOf(text)
		tpls.check(func(string, ...any) {})
		for _, k := range kinds {
			if _, err := tpls.expand(k.label, func(string, ...any) {}); err != nil {
				t.Errorf("what was checked fails: %v", err)
			}
		}
	})
}
