package sasl

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// cyrusDeps has one configuration file, and a password database.
func cyrusDeps(path, text string) Deps {
	deps := testDeps()
	deps.Read = func(name string) ([]byte, error) {
		if name != path {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	deps.Accounts = func(path string) Table {
		if path == "/down" {
			return users{"joe\x00mx.test\x00userPassword": "ERROR"}
		}
		return users{"joe\x00mx.test\x00userPassword": "secret pass", "sue\x00a.test\x00userPassword": "secret pass"}
	}
	return deps
}

func TestCyrusConfig(t *testing.T) {
	t.Parallel()
	const a = "/etc/postfix/sasl/smtpd.conf"
	tests := []struct {
		name, path, dirs, text string
		mechs, want            string
	}{
		{"no file", "", "", "", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", ""},
		{"saslauthd", "smtpd", "", "# words\r\n\n PWCHECK_method:saslauthd\r\nlog_level: 7\n", "PLAIN LOGIN", ""},
		{"their list", "smtpd", "", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: SCRAM-SHA-256, login\tGSSAPI plain\n", "SCRAM-SHA-256 LOGIN PLAIN", ""},
		{"second directory", "smtpd", "/nowhere:/etc/postfix/sasl", "mech_list: plain", "PLAIN", ""},
		{"other directory", "smtpd", "/nowhere", "mech_list: plain", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", ""},
		{"other name", "other", "", "mech_list: plain", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", ""},
		{"other method", "smtpd", "", "pwcheck_method: authdaemond", "", `smtpd.conf: pwcheck_method: authdaemond is not supported: use "saslauthd"`},
		{"several methods", "smtpd", "", "pwcheck_method: saslauthd auxprop", "", "is not supported"},
		{"other plugin", "smtpd", "", "auxprop_plugin: sql", "", "auxprop_plugin: sql is not supported: use"},
		{"no option", "smtpd", "", "pwcheck_method: saslauthd\nnonsense", "", a + ": line 2: option: value expected"},
		{"odd option", "smtpd", "", "a b: c", "", "line 1"},
		{"long file", "smtpd", "", strings.Repeat("#\n", cyrusSize), "", "larger than"},
		{"a path", "/etc/smtpd", "", "", "", "it is the name of a file"},
	}
	for _, tt := range tests {
		srv, err := New(&Settings{Type: "cyrus", Path: tt.path, ConfigPath: tt.dirs, Hostname: "mx.test"}, cyrusDeps(a, tt.text))
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got, err := srv.Mechanisms(context.Background(), false); strings.Join(got, " ") != tt.mechs || err != nil {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	deps := cyrusDeps(a, "")
	deps.Read = func(string) ([]byte, error) { return nil, fs.ErrPermission }
	if _, err := New(&Settings{Type: "cyrus"}, deps); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file that may not be read: %v", err)
	}
}

func TestSasldb(t *testing.T) {
	t.Parallel()
	tests := []struct {
		domain, user, password, name string
		want                         error
	}{
		{"", "joe", "secret pass", "joe", nil}, {"", "joe@mx.test", "secret pass", "joe@mx.test", nil},
		{"", "sue", "secret pass", "sue", ErrAuth}, {"", "sue@a.test", "secret pass", "sue@a.test", nil},
		{"a.test", "sue", "secret pass", "sue@a.test", nil}, {"a.test", "joe", "secret pass", "joe", ErrAuth},
		{"a.test", "joe@mx.test", "secret pass", "joe@mx.test", nil}, {"", "joe", "wrong", "joe", ErrAuth},
		{"", "joe", strings.Repeat("x", maxPassword+1), "joe", ErrAuth},
	}
	for _, tt := range tests {
		srv, err := New(&Settings{Type: "cyrus", Hostname: "mx.test", LocalDomain: tt.domain}, cyrusDeps("", ""))
		if err != nil {
			t.Fatal(err)
		}
		user, _, err := login(srv, "PLAIN", true, "\x00"+tt.user+"\x00"+tt.password)
		if user != tt.name || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s %s: %q, %v", tt.domain, tt.user, user, err)
		}
		if tt.want == nil {
			if user, err := scramLogin(srv, "SCRAM-SHA-256", tt.user, tt.password, ""); user != tt.name || err != nil {
				t.Errorf("SCRAM %s %s: %q, %v", tt.domain, tt.user, user, err)
			}
		}
	}
	srv, err := New(&Settings{Type: "cyrus", Hostname: "mx.test"}, cyrusDeps("/etc/postfix/sasl/smtpd.conf", "sasldb_path: /down"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := login(srv, "LOGIN", true, "joe", "secret pass"); !errors.Is(err, ErrTemporary) {
		t.Errorf("a database that is down: %v", err)
	}
	if _, _, err := login(srv, "X-NOSUCH", false); !errors.Is(err, ErrMechanism) || err.Error() != "no mechanism available" {
		t.Errorf("no mechanism: %v", err)
	}
}

// serveSaslauthd answers each question by a function of its fields.
func serveSaslauthd(t *testing.T, answer func(fields []string) string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "mux")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	// goroutine: answers until the listener is closed.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var fields []string
			for len(fields) < 4 {
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					break
				}
				text := make([]byte, binary.BigEndian.Uint16(size[:]))
				_, _ = io.ReadFull(c, text)
				fields = append(fields, string(text))
			}
			_, _ = io.WriteString(c, answer(fields))
			_ = c.Close()
		}
	}()
	return path
}

func TestSaslauthd(t *testing.T) {
	t.Parallel()
	path := serveSaslauthd(t, func(fields []string) string {
		switch strings.Join(fields, "|") {
		case "joe|secret pass|smtp|a.test":
			return "\x00\x02OK"
		case "joe|secret pass|smtp|b.test":
			return "\x00\x09OK (fine)"
		case "short|x|smtp|a.test":
			return "\x00"
		case "empty|x|smtp|a.test":
			return "\x00\x00"
		case "long|x|smtp|a.test":
			return "\xff\xff" + strings.Repeat("x", 70000)
		case "odd|x|smtp|a.test":
			return "\x00\x03WAT"
		}
		return "\x00\x02NO"
	})
	deps := cyrusDeps("/etc/postfix/sasl/smtpd.conf", "pwcheck_method: saslauthd\nsaslauthd_path: "+path)
	srv, err := New(&Settings{Type: "cyrus", Service: "smtp", LocalDomain: "a.test"}, deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		user, password, name string
		want                 error
	}{
		{"joe", "secret pass", "joe@a.test", nil}, {"joe@b.test", "secret pass", "joe@b.test", nil}, {"joe", "wrong", "joe", ErrAuth},
		{"joe", strings.Repeat("x", maxPassword+1), "joe", ErrAuth},
		{"short", "x", "short", ErrTemporary}, {"empty", "x", "empty", ErrTemporary}, {"long", "x", "long", ErrTemporary}, {"odd", "x", "odd", ErrTemporary},
	} {
		user, _, err := login(srv, "PLAIN", true, "\x00"+tt.user+"\x00"+tt.password)
		if user != tt.name || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %q, %v", tt.user, user, err)
		}
	}
	deps = cyrusDeps("/etc/postfix/sasl/smtpd.conf", "pwcheck_method: saslauthd\nsaslauthd_path: "+path+"gone")
	if srv, err = New(&Settings{Type: "cyrus"}, deps); err != nil {
		t.Fatal(err)
	}
	_, _, err = login(srv, "PLAIN", true, "\x00joe\x00x")
	var later *TemporaryError
	if !errors.As(err, &later) || later.Reason != "generic failure" || later.Details[0] != "cannot connect to saslauthd server: No such file or directory" {
		t.Errorf("nobody there: %#v", err)
	}
}

func FuzzCyrusConfig(f *testing.F) {
	f.Add("pwcheck_method: saslauthd\n# x\nmech_list: plain\n")
	f.Add(" a:\r\nb c: d")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCyrus(text)
		if (c == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
		for name := range c {
			if name == "" || strings.ContainsAny(name, ": \n") {
				t.Errorf("%q: option %q", text, name)
			}
		}
	})
}

func FuzzSaslauthdAnswer(f *testing.F) {
	f.Add([]byte("\x00\x02OK"))
	f.Add([]byte("\xff\xffOK"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := readSaslauthd(bytes.NewReader(b))
		if err == nil && (len(text) < 2 || len(text) > saslauthdAnswer || !bytes.HasPrefix(b[2:], []byte(text))) {
			t.Errorf("%q: %q", b, text)
		}
	})
}
