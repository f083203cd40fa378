package sasl

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"postroad/internal/mail"
	"postroad/internal/table"
)

// users is a table of passwords.
type users map[string]string

func (u users) Lookup(_ context.Context, key string) (string, bool, error) {
	v, ok := u[key]
	if v == "ERROR" {
		return "", false, errors.New("table is on fire")
	}
	return v, ok, nil
}

// people have the password "secret pass", hashed by doveadm pw and openssl.
func people() users {
	return users{
		"plain": "{PLAIN}secret pass", "clear": "{cleartext}secret pass",
		"sha512": "{SHA512-CRYPT}$6$rounds=1000$ihcuc69hswphZ1I1$U9ofL207ynAVqyYNWqog9FWGypLga.s7ddhkopc7FZ7DKOgZrkpFmxERurNvVY5mwA1t2M68e2KCxbkbbgmaX.",
		"sha256": "{SHA256-CRYPT}$5$rounds=1000$flelexZJTKHFmbJs$luAj9vFmZcgeYwhpxAgbXJN6SbcQhDuFyM52E4/E7wA",
		"bcrypt": "{BLF-CRYPT}$2y$05$wMfnvlqg/kG5nhtU/PlOn.N4HKd3SDcpE/YrljwdINvIJL1E.ZcKW",
		"argon2": "{ARGON2I}$argon2i$v=19$m=32768,t=5,p=1$PROS49l5MQ9llBFFdGijzg$qa97LNNtQaLFyTIUaceZ4mUYj4LHgmqJftDBxXjDCf0",
		"bare":   "$6$abcdefgh$T2WXtwktTC2b5B5eLgYoBNSaruzkNaEhxCMZO6BjUUifAydP30r5J1X72mBVJN1tky9srX4MgNXnjeofwkiU51",
		"none":   "secret pass", "odd": "{ROT13}frperg cnff", "lie": "{BLF-CRYPT}$6$abcdefgh$T2WX", "broken": "{SHA512-CRYPT}$6$x",
		"joe@a.test": "{PLAIN}secret pass", "down": "ERROR",
	}
}

// testDeps has the people, and lists of plain words.
func testDeps() Deps {
	set := table.NewSet(table.Options{})
	return Deps{
		Open: func(spec string) (Table, error) {
			if spec == "none" {
				return nil, errors.New("no such table")
			}
			return people(), nil
		},
		Accounts: func(path string) Table { return set.SASLDB(path) },
		List:     func(param string, items []string) (Matcher, error) { return set.StringList(param, items) },
	}
}

func newTestServer(t testing.TB, s Settings) Server {
	t.Helper()
	s.Type = "postroad"
	if s.Mechanisms == nil {
		s.Mechanisms = []string{"plain", "login"}
	}
	srv, err := New(&s, testDeps())
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// login plays a whole exchange.
func login(srv Server, mech string, has bool, responses ...string) (user string, challenges []string, err error) {
	r := &Request{Mechanism: mech, Session: &mail.Session{}, HasInitial: has}
	if has {
		r.Initial, responses = []byte(responses[0]), responses[1:]
	}
	x, err := srv.Begin(context.Background(), r)
	if err != nil {
		return "", nil, err
	}
	defer x.Close()
	var response []byte
	for {
		challenge, done, err := x.Next(context.Background(), response)
		if err != nil || done {
			return x.Username(), challenges, err
		}
		challenges = append(challenges, string(challenge))
		if len(responses) == 0 {
			return x.Username(), challenges, errors.New("one challenge too many")
		}
		response, responses = []byte(responses[0]), responses[1:]
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, Settings{LocalDomain: "a.test"})
	tests := []struct {
		user, password string
		want           error
	}{
		{"plain", "secret pass", nil}, {"plain", "secret", ErrAuth}, {"clear", "secret pass", nil},
		{"sha512", "secret pass", nil}, {"sha512", "x", ErrAuth}, {"sha256", "secret pass", nil}, {"sha256", "x", ErrAuth},
		{"bcrypt", "secret pass", nil}, {"bcrypt", "x", ErrAuth}, {"argon2", "secret pass", nil}, {"argon2", "x", ErrAuth},
		{"bare", "secret pass", nil}, {"bare", "x", ErrAuth},
		{"none", "secret pass", ErrTemporary}, {"odd", "secret pass", ErrTemporary}, {"lie", "secret pass", ErrTemporary},
		{"broken", "secret pass", ErrTemporary}, {"down", "secret pass", ErrTemporary},
		{"nobody", "secret pass", ErrAuth}, {"joe", "secret pass", nil}, {"joe@a.test", "secret pass", nil}, {"joe@b.test", "secret pass", ErrAuth},
	}
	for _, tt := range tests {
		for name, f := range map[string]func() (string, []string, error){
			"PLAIN":         func() (string, []string, error) { return login(srv, "plain", true, "\x00"+tt.user+"\x00"+tt.password) },
			"PLAIN asked":   func() (string, []string, error) { return login(srv, "PLAIN", false, "\x00"+tt.user+"\x00"+tt.password) },
			"LOGIN":         func() (string, []string, error) { return login(srv, "LOGIN", false, tt.user, tt.password) },
			"LOGIN initial": func() (string, []string, error) { return login(srv, "LOGIN", true, tt.user, tt.password) },
		} {
			user, _, err := f()
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || user != tt.user {
				t.Errorf("%s %s %q: user %q, %v; want %v", name, tt.user, tt.password, user, err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "$6$")) {
				t.Errorf("%s: the error tells a secret: %v", tt.user, err)
			}
		}
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, Settings{})
	for _, bad := range []string{"", "plain", "\x00plain", "\x00plain\x00", "\x00\x00secret pass", "\x00plain\x00secret pass\x00", "x\x00plain\x00secret pass", "\x00plain\x00\xff"} {
		if _, _, err := login(srv, "PLAIN", true, bad); !errors.Is(err, ErrAuth) {
			t.Errorf("PLAIN %q: %v", bad, err)
		}
	}
	if user, _, err := login(srv, "PLAIN", true, "plain\x00plain\x00secret pass"); user != "plain" || err != nil {
		t.Errorf("PLAIN as oneself: %q, %v", user, err)
	}
	if _, challenges, err := login(srv, "LOGIN", false, "plain", "secret pass"); err != nil || !slices.Equal(challenges, []string{"Username:", "Password:"}) {
		t.Errorf("LOGIN: %q, %v", challenges, err)
	}
	for _, bad := range [][]string{{"", "x"}, {"a\x00b", "x"}, {"plain", ""}, {"plain", "a\x00"}} {
		if _, _, err := login(srv, "LOGIN", false, bad...); !errors.Is(err, ErrAuth) {
			t.Errorf("LOGIN %q: %v", bad, err)
		}
	}
	if _, _, err := login(srv, "CRAM-MD5", false); !errors.Is(err, ErrMechanism) {
		t.Errorf("unknown mechanism: %v", err)
	}
}

// TestDummyCosts makes sure that the time for an unknown user is spent.
func TestDummyCosts(t *testing.T) {
	t.Parallel()
	d, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := checkPassword(d, firstDummy, "x"); ok || err != nil {
		t.Errorf("the first dummy is compared as %v, %v", ok, err)
	}
	srv := newTestServer(t, Settings{}).(*localServer)
	_, _, _ = login(srv, "PLAIN", true, "\x00bcrypt\x00x")
	if got := *srv.dummy.Load(); got != people()["bcrypt"] {
		t.Errorf("unknown users are compared with %q", got)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		set        Settings
		plain, tls string
	}{
		{"no options", Settings{}, "PLAIN LOGIN", "PLAIN LOGIN"},
		{"defaults", Settings{Options: []string{"noanonymous"}, TLSOptions: []string{"noanonymous"}, MechanismFilter: []string{"!external", "static:rest"}}, "PLAIN LOGIN", "PLAIN LOGIN"},
		{"noplaintext", Settings{Options: []string{"noplaintext"}}, "", "PLAIN LOGIN"},
		{"noplaintext everywhere", Settings{Options: []string{"NoPlaintext"}, TLSOptions: []string{"noplaintext"}}, "", ""},
		{"mutual", Settings{TLSOptions: []string{"mutual_auth"}}, "PLAIN LOGIN", ""},
		{"one", Settings{MechanismFilter: []string{"plain"}}, "PLAIN", "PLAIN"},
		{"not one", Settings{MechanismFilter: []string{"!login", "static:all"}}, "PLAIN", "PLAIN"},
		{"first word wins", Settings{MechanismFilter: []string{"static:all", "!login"}}, "PLAIN LOGIN", "PLAIN LOGIN"},
	}
	for _, tt := range tests {
		srv := newTestServer(t, tt.set)
		for tls, want := range map[bool]string{false: tt.plain, true: tt.tls} {
			got, err := srv.Mechanisms(context.Background(), tls)
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s, TLS %v: %q, %v; want %q", tt.name, tls, got, err, want)
			}
		}
	}
	srv := newTestServer(t, Settings{Options: []string{"noplaintext"}})
	if _, _, err := login(srv, "PLAIN", true, "\x00plain\x00secret pass"); !errors.Is(err, ErrMechanism) {
		t.Errorf("PLAIN without TLS: %v", err)
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	deps := testDeps()
	deps.List = func(param string, items []string) (Matcher, error) { return nil, errors.New(param + ": no") }
	for name, tt := range map[string]struct {
		set  Settings
		want string
	}{
		"unknown": {Settings{Type: "x"}, "not one of cyrus, dovecot, postroad"},
		"mechs":   {Settings{Type: "postroad", Mechanisms: []string{"digest-md5"}}, `postroad_sasl_mechanisms: no mechanism "digest-md5" here`},
		"table":   {Settings{Type: "postroad", Path: "none"}, "smtpd_sasl_path: no such table"},
		"option":  {Settings{Type: "dovecot", Path: "x", Options: []string{"no"}}, `smtpd_sasl_security_options: unknown security option "no"`},
		"tls":     {Settings{Type: "dovecot", Path: "x", TLSOptions: []string{"no"}}, `smtpd_sasl_tls_security_options`},
		"filter":  {Settings{Type: "dovecot", Path: "x", MechanismFilter: []string{"hash:/x"}}, "smtpd_sasl_mechanism_filter"},
		"path":    {Settings{Type: "dovecot"}, "smtpd_sasl_path"},
		"inet":    {Settings{Type: "dovecot", Path: "inet:host"}, "host:port expected"},
	} {
		if _, err := New(&tt.set, deps); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("\x00plain\x00secret pass", false)
	f.Add("plain", true)
	srv := newTestServer(f, Settings{})
	f.Fuzz(func(t *testing.T, response string, asLogin bool) {
		mech := "PLAIN"
		if asLogin {
			mech = "LOGIN"
		}
		user, _, err := login(srv, mech, true, response, response)
		if err == nil && user != "plain" && user != "clear" && !strings.Contains(response, "secret pass") {
			t.Errorf("%q logs in as %q", response, user)
		}
	})
}
