package table

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// settings makes the settings of a table from the text of a file.
func settings(t testing.TB, text string) *clientConfig {
	t.Helper()
	values, err := parseClientFile("test.cf", text, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &clientConfig{name: "test.cf", get: func(name string) (string, bool) { v, ok := values[name]; return v, ok }}
}

// quoteAngle is a quoter that shows what was quoted.
func quoteAngle(b *strings.Builder, s string) { b.WriteString("<" + s + ">") }

func TestQueryTemplate(t *testing.T) {
	t.Parallel()
	tests := []struct{ cf, query, key, want string }{
		{"", "%s|%u|%d|%1|%2|%3|%%", "a@b.c.d", "<a@b.c.d>|<a>|<b.c.d>|<d>|<c>|<b>|%"},
		{"", "%3", "a@b.c", ""},
		{"", "%1", "a@", ""},
		{"", "%1", "a", ""},
		{"", "%s%%s%%%s", "a", "<a>%s%<a>"},
		{"", "%u", "a", "<a>"},
		{"", "%u", "a@", "<a>"},
		{"", "%u", "@b", ""},
		{"", "%u", "a@b@c", "<a@b>"},
		{"", "%d", "a@b@c", "<c>"},
		{"", "%d", "@b", "<b>"},
		{"", "%d", "a@", ""},
		{"", "%d", "a", ""},
		{"", "%S%U", "a", "<a><a>"},
		{"", "%U", "@b", ""},
		{"", "%D", "@b", "<b>"},
		{"", "%D", "b", ""},
		{"", "%1.%2.%3", "a@b..c.d.", "<d>.<c>.<b>"},
		{"", "%s", "", ""},
		{"", "%s", "\xff", ""},
		{"", "%s", "a\x00b", ""},
		{"", "none", "a", "none"},
		{"result_format=%2", "%s", "a@b.c", "<a@b.c>"},
		{"result_format=%2", "%s", "a@b", ""},
		{"result_format=%D", "%s", "a", ""},
		{"result_format=%U", "%s", "@a", ""},
		{"result_format=%d", "%s", "a", "<a>"},
		{"domain=b.c !d.e static:x", "%s", "a@b.c", "<a@b.c>"},
		{"domain=b.c !d.e static:x", "%s", "a@d.e", ""},
		{"domain=b.c !d.e static:x", "%s", "a@f.g", "<a@f.g>"},
		{"domain=b.c,\n  f.g", "%s", "a@f.g", "<a@f.g>"},
		{"domain=b.c", "%s", "a@x.b.c", ""},
		{"domain=.b.c", "%s", "a@x.b.c", ""},
		{"domain=b.c", "%s", "@b.c", ""},
		{"domain=b.c", "%s", "b.c", ""},
		{"domain=b.c", "%s", "a@B.C", "<a@B.C>"},
	}
	for _, test := range tests {
		q, err := newQuerySpec("test:x", settings(t, test.cf), &Options{}, test.query)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := q.asks(context.Background(), test.key)
		if err != nil {
			t.Errorf("%q %q %q: %v", test.cf, test.query, test.key, err)
		}
		got := ""
		if ok {
			got = q.query(0, test.key, quoteAngle)
		}
		if got != test.want {
			t.Errorf("%q %q %q: %q, want %q", test.cf, test.query, test.key, got, test.want)
		}
	}
}

func TestQueryAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cf, key string
		values  []string
		want    string
		err     string
	}{
		{"", "k", nil, "", ""},
		{"", "k", []string{"a", "", "b@c,d"}, "a,b@c,d", ""},
		{"", "k", []string{"%s"}, "%s", ""},
		{"result_format=%s|%u|%d", "k", []string{"a@b", "a", "@b", "a@", "a@b@c"}, "a@b|a|b,a@b@c|a@b|c", ""},
		{"result_format=%u", "k", []string{"a@b", "a", "@b", "a@"}, "a,a,a", ""},
		{"result_format=%S/%U/%D/%1/%%", "k@d.e", []string{"a", "b"}, "k@d.e/k/d.e/e/%,k@d.e/k/d.e/e/%", ""},
		{"result_format=OK", "k", []string{"a", "b"}, "OK,OK", ""},
		{"expansion_limit=2", "k", []string{"a", "", "b"}, "a,b", ""},
		{"expansion_limit=2", "k", []string{"a", "b", "c"}, "", "expansion limit of 2 exceeded"},
		{"expansion_limit=1\nresult_format=%d", "k", []string{"a", "b", "c@d"}, "d", ""},
		{"", "k", []string{strings.Repeat("x", maxAnswer), "y"}, "", "the result is larger than 16777216 bytes"},
	}
	for _, test := range tests {
		q, err := newQuerySpec("test:x", settings(t, test.cf), &Options{}, "%s")
		if err != nil {
			t.Fatal(err)
		}
		a := q.answerTo(test.key)
		for _, value := range test.values {
			a.add(value)
		}
		got, ok, err := a.result()
		if got != test.want || ok != (test.want != "") || fmt.Sprint(err) != cmpError(test.err) {
			t.Errorf("%q %q: %q %v %v, want %q %q", test.cf, test.values, got, ok, err, test.want, test.err)
		}
	}
}

// cmpError is what fmt.Sprint makes of an error with this text.
func cmpError(text string) string {
	if text == "" {
		return "<nil>"
	}
	return text
}

func TestClientConfig(t *testing.T) {
	t.Parallel()
	tests := []struct{ cf, err string }{
		{"a=b\n# c\n\nquery = x\n  y\n", ""},
		{"nothing here", "test.cf, line 1: missing '=' after attribute name"},
		{"a=b\n\npassword my secret=x\n", "test.cf, line 3: missing '=' after attribute name"},
		{"=x", "test.cf, line 1: missing attribute name"},
		{"expansion_limit=x", "test.cf: bad numerical configuration: expansion_limit = x"},
		{"expansion_limit=-1", "test.cf: invalid expansion_limit parameter value -1 < 0"},
		{"expansion_limit=99999999999", "test.cf: bad numerical configuration: expansion_limit = 99999999999"},
		{"expansion_limit=", "test.cf: bad numerical configuration: expansion_limit = "},
		{"result_format=", "test.cf: bad string length 0 < 1: result_format = "},
		{"result_format=%x", "test.cf: Invalid result template: %x"},
		{"result_format=100%", "test.cf: Invalid result template: 100%"},
		{"result_format=%0", "test.cf: Invalid result template: %0"},
		{"domain=nosuch:type", ""},
		{"require=maybe", "test.cf: bad boolean configuration: require = maybe"},
	}
	for _, test := range tests {
		values, err := parseClientFile("test.cf", test.cf, &Options{})
		if err == nil {
			c := &clientConfig{name: "test.cf", get: func(name string) (string, bool) { v, ok := values[name]; return v, ok }}
			c.yes("require", true)
			_, err = newQuerySpec("test:x", c, &Options{}, "%s")
		}
		if fmt.Sprint(err) != cmpError(test.err) {
			t.Errorf("%q: error %v, want %q", test.cf, err, test.err)
		}
	}
}

func TestClientConfigMain(t *testing.T) {
	t.Parallel()
	main := map[string]string{"my_hosts": "a, b  c", "my_expansion_limit": "3", "my_bind": "NO"}
	o := &Options{Param: func(name string) (string, bool) { v, ok := main[name]; return v, ok }}
	c, err := openClientConfig("my", o)
	if err != nil {
		t.Fatal(err)
	}
	if hosts := c.list("hosts"); strings.Join(hosts, "|") != "a|b|c" {
		t.Errorf("hosts: %q", hosts)
	}
	if n := c.number("expansion_limit", 0, 0); n != 3 || c.yes("bind", true) || c.text("user", "nobody") != "nobody" || c.err != nil {
		t.Errorf("%d %v", n, c.err)
	}
	if _, err := openClientConfig("my", &Options{}); err == nil {
		t.Error("settings out of nowhere")
	}
	if _, err := openClientConfig("/nonexistent/x.cf", &Options{}); fmt.Sprint(err) != "open /nonexistent/x.cf: No such file or directory" {
		t.Error(err)
	}
}

// FuzzClientConfig reads any file and makes queries of any key: no quoted text may
// get out of its quotes.
func FuzzClientConfig(f *testing.F) {
	f.Add("query=select '%s' %u %d %1\nresult_format=%U %S\n", "a'b@c.d", "v@w")
	f.Add("query=%%%9\n  x\nexpansion_limit=1\ndomain=b,c", "'@", "")
	f.Fuzz(func(t *testing.T, cf, key, value string) {
		values, err := parseClientFile("test.cf", cf, &Options{})
		if err != nil {
			return
		}
		delete(values, "domain") // it could name any file of the machine
		c := &clientConfig{name: "test.cf", get: func(name string) (string, bool) { v, ok := values[name]; return v, ok }}
		q, err := newQuerySpec("test:x", c, &Options{}, c.text("query", "'%s'"))
		if err != nil {
			return
		}
		ok, err := q.asks(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		q.query(0, key, func(b *strings.Builder, s string) {
			if s == "" && !strings.Contains(key, "@") {
				t.Errorf("%q: an empty part of %q", cf, key)
			}
			b.WriteString(s)
		})
		a := q.answerTo(key)
		a.add(value)
		if text, ok, err := a.result(); err != nil && ok || ok && text == "" {
			t.Errorf("%q %v %v", text, ok, err)
		}
	})
}
