package policy

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	defaults := Config{Timeout: 100 * time.Second, TryLimit: 2, DefaultAction: "451 x"}
	for _, test := range []struct{ spec, want, err string }{
		{"inet:127.0.0.1:10023", "tcp 127.0.0.1:10023 1m40s 2 451 x", ""},
		{"unix:private/policy", "unix private/policy 1m40s 2 451 x", ""},
		{"local:private/policy", "unix private/policy 1m40s 2 451 x", ""},
		{"{ inet:localhost:1, timeout=10s, default_action=DUNNO }", "tcp localhost:1 10s 2 DUNNO", ""},
		{"{inet:localhost:1 timeout=2m try_limit=5}", "tcp localhost:1 2m0s 5 451 x", ""},
		{"{ unix:x { default_action = 450 4.7.1 later } }", "unix x 1m40s 2 450 4.7.1 later", ""},
		{"smtp:x", "", "need service transport:endpoint"},
		{"inet:", "", "need service transport:endpoint"},
		{"{}", "", "empty policy service"},
		{"{ inet:x:1", "", "policy service syntax error"},
		{"{ inet:x:1 timeout=0 }", "", "bad time value or unit"},
		{"{ inet:x:1 timeout=1y }", "", "bad time value or unit"},
		{"{ inet:x:1 try_limit=0 }", "", "bad numerical configuration"},
		{"{ inet:x:1 request_limit=-1 }", "", "bad numerical configuration"},
		{"{ inet:x:1 default_action= }", "", "bad string length"},
		{"{ inet:x:1 nothing }", "", "malformed option"},
		{"{ inet:x:1 foo=bar }", "", "unknown option"},
	} {
		c, err := Parse(test.spec, defaults)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v", test.spec, err)
			}
			continue
		}
		got := strings.Join([]string{c.Network, c.Address, c.Timeout.String(), string(rune('0' + c.TryLimit)), c.DefaultAction}, " ")
		if err != nil || got != test.want || c.Spec != test.spec {
			t.Errorf("%s: %s, %v", test.spec, got, err)
		}
	}
}

func TestRequestIsOneLinePerAttribute(t *testing.T) {
	t.Parallel()
	var r Request
	r.Add("a", "x\ny=z\r\x00")
	r.Add("b", "grün \xff")
	r.AddInt("n", 42)
	if got, want := string(r.Bytes()), "a=x?y=z??\nb=grün ?\nn=42\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.Reset()
	if got := string(r.Bytes()); got != "\n" {
		t.Errorf("after reset: %q", got)
	}
}

func TestReply(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"action=first\naction=second\n\n": "first", "a=b\r\naction=REJECT a=b\r\n\r\n": "REJECT a=b", "action=\n\n": "", "Action=x\naction=y\n\n": "y",
	} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(in))); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// FuzzReply reads what a hostile server could send.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"action=OK\n\n", "action=OK\r\n\r\n", "\n", "", "action\n\n", "a=b\naction=REJECT x\nc\n\n", "action=\n\n", "action=OK", "=\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReaderSize(strings.NewReader(string(data)), 16)
		action, err := readReply(in)
		if err != nil {
			if action != "" {
				t.Errorf("error %v with action %q", err, action)
			}
			return
		}
		if strings.ContainsRune(action, '\n') || len(action) > maxLine {
			t.Errorf("action %q", action)
		}
		if !strings.Contains(string(data), "action="+action) {
			t.Errorf("action %q is not in %q", action, data)
		}
	})
}

// FuzzParse reads what an administrator could write.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"inet:a:1", "{ unix:x, timeout=3 }", "{", "{}", "{ a { b = c } }", "inet:a:1 }"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		c, err := Parse(spec, Config{})
		if err == nil && (c.Address == "" || c.Network != "tcp" && c.Network != "unix") {
			t.Errorf("%q: %+v", spec, c)
		}
	})
}
