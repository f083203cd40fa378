package sasl

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"net/netip"

	"postroad/internal/mail"
)

// hello is the beginning of a conversation, as Dovecot has it.
const hello = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tDIGEST-MD5\tdictionary\tactive\tmutual-auth\n" +
	"MECH\tANONYMOUS\tanonymous\nMECH\tHIDDEN\tprivate\nSPID\t1\nCUID\t2\nCOOKIE\tabc\nDONE\n"

// fakeDovecot answers each line by a function of its fields.
type fakeDovecot struct {
	hello  string
	answer func(fields []string) string
	// once closes a connection after its first exchange.
	once  bool
	conns atomic.Int32
}

// serve listens on a socket and returns a Server that uses it.
func (f *fakeDovecot) serve(t *testing.T) Server {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "auth"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	// goroutine: accepts until the listener is closed.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.conns.Add(1)
			// goroutine: one connection; ends with it.
			go f.conn(c)
		}
	}()
	srv, err := New(&Settings{Type: "dovecot", Path: "auth", QueueDir: dir, Service: "smtp", Options: []string{"noanonymous"}, TLSOptions: []string{"noanonymous"}}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func (f *fakeDovecot) conn(c net.Conn) {
	defer c.Close()
	_, _ = c.Write([]byte(f.hello))
	in := bufio.NewScanner(c)
	for in.Scan() {
		fields := strings.Split(in.Text(), "\t")
		if fields[0] != "AUTH" && fields[0] != "CONT" {
			continue
		}
		_, _ = fmt.Fprint(c, f.answer(fields))
		if f.once {
			return
		}
	}
}

func TestDovecot(t *testing.T) {
	t.Parallel()
	const mine = "\x00joe\x00secret"
	resp := "resp=" + base64.StdEncoding.EncodeToString([]byte(mine))
	var asked atomic.Value
	f := &fakeDovecot{hello: hello, answer: func(fields []string) string {
		asked.Store(strings.Join(fields[2:], " "))
		id, last := fields[1], fields[len(fields)-1]
		switch {
		case fields[0] == "AUTH" && last == resp:
			return "OK\t" + id + "\tuser=joe\n"
		case fields[0] == "AUTH" && fields[2] == "LOGIN":
			return "CONT\t" + id + "\tVXNlcm5hbWU6\n"
		case fields[0] == "CONT" && last == "am9l":
			return "CONT\t" + id + "\tUGFzc3dvcmQ6\n"
		case fields[0] == "CONT" && last == "c2VjcmV0":
			return "CONT\t999\tZm9yIHNvbWVib2R5IGVsc2U=\nOK\t" + id + "\tuser=joe\tnologin\n"
		case last == "resp=dGVtcA==":
			return "FAIL\t" + id + "\tuser=joe\ttemp\n"
		case last == "resp=b2Rk":
			return "WHAT\t" + id + "\nCONT\t" + id + "\n"
		case last == "resp=Y29kZQ==":
			return "FAIL\t" + id + "\tcode=temp_fail\treason=wait\n"
		case last == "resp=YmFkNjQ=":
			return "CONT\t" + id + "\t!!\n"
		case last == "resp=bm91c2Vy":
			return "OK\t" + id + "\n"
		}
		return "FAIL\t" + id + "\tuser=joe\treason=no way\n"
	}}
	srv := f.serve(t)
	for tls, want := range map[bool]string{false: "PLAIN LOGIN DIGEST-MD5", true: "PLAIN LOGIN DIGEST-MD5"} {
		if got, err := srv.Mechanisms(context.Background(), tls); strings.Join(got, " ") != want || err != nil {
			t.Errorf("mechanisms: %q, %v", got, err)
		}
	}
	tests := []struct {
		name string
		in   []string
		mech string
		has  bool
		user string
		want error
		text string
	}{
		{"plain", []string{mine}, "PLAIN", true, "joe", nil, ""},
		{"login", []string{"joe", "secret"}, "LOGIN", false, "joe", nil, ""},
		{"refused", []string{"\x00joe\x00x"}, "PLAIN", true, "joe", ErrAuth, "no way"},
		{"temporary", []string{"temp"}, "PLAIN", true, "joe", ErrTemporary, ""},
		{"temporary by its code", []string{"code"}, "PLAIN", true, "", ErrTemporary, "wait"},
		{"odd answer", []string{"odd"}, "PLAIN", true, "", ErrTemporary, "missing Dovecot server CONT reply field"},
		{"bad base64", []string{"bad64"}, "PLAIN", true, "", ErrTemporary, "not in base64"},
		{"no user", []string{"nouser"}, "PLAIN", true, "", ErrTemporary, "missing Dovecot server OK username field"},
		{"anonymous", []string{"x"}, "ANONYMOUS", true, "", ErrMechanism, ""},
		{"private", []string{"x"}, "HIDDEN", true, "", ErrMechanism, ""},
	}
	for _, tt := range tests {
		user, _, err := login(srv, tt.mech, tt.has, tt.in...)
		if user != tt.user || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || tt.text != "" && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: user %q, %v; want %v %s", tt.name, user, err, tt.want, tt.text)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret", tt.name)
		}
	}
	// What Dovecot is told about the session.
	s := &mail.Session{TLS: &mail.TLS{}, Server: netip.MustParseAddrPort("192.0.2.1:587")}
	s.Client.Addr, s.Client.Port = netip.MustParseAddr("2001:db8::1"), 1234
	x, err := srv.Begin(context.Background(), &Request{Mechanism: "PLAIN", Session: s, Initial: []byte(mine), HasInitial: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, done, err := x.Next(context.Background(), nil); !done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
	want := "PLAIN service=smtp nologin lip=192.0.2.1 rip=2001:db8::1 lport=587 rport=1234 secured " + resp
	if got := asked.Load(); got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// TestDovecotRestart uses a connection that the server has closed meanwhile.
func TestDovecotRestart(t *testing.T) {
	t.Parallel()
	f := &fakeDovecot{hello: hello, once: true, answer: func(fields []string) string { return "OK\t" + fields[1] + "\tuser=joe\n" }}
	srv := f.serve(t)
	for range 3 {
		if user, _, err := login(srv, "PLAIN", true, "\x00joe\x00x"); user != "joe" || err != nil {
			t.Errorf("user %q, %v", user, err)
		}
	}
	if n := f.conns.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// TestDovecotTrouble meets servers that are not there or talk nonsense.
func TestDovecotTrouble(t *testing.T) {
	t.Parallel()
	for name, hello := range map[string]string{
		"other version": "VERSION\t2\t0\nMECH\tPLAIN\nDONE\n", "no version": "MECH\tPLAIN\nDONE\n", "no mechanism": "VERSION\t1\t0\nDONE\n",
		"endless": strings.Repeat("SPID\t1\n", 2*dovecotLines), "endless line": strings.Repeat("x", 2*dovecotLine), "nothing": "",
	} {
		f := &fakeDovecot{hello: hello}
		srv := f.serve(t)
		ctx := context.Background()
		if name == "nothing" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 1)
			defer cancel()
		}
		if got, err := srv.Mechanisms(ctx, false); got != nil || !errors.Is(err, ErrTemporary) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	srv, err := New(&Settings{Type: "dovecot", Path: "nothing", QueueDir: t.TempDir()}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Begin(context.Background(), &Request{Mechanism: "PLAIN"}); !errors.Is(err, ErrTemporary) {
		t.Errorf("no socket: %v", err)
	}
}

func FuzzDovecotLine(f *testing.F) {
	f.Add("OK\t1\tuser=joe")
	f.Add("FAIL\t1\treason=x\ttemp")
	f.Add("CONT\t1\tAAAA")
	f.Fuzz(func(t *testing.T, line string) {
		x := &dovecotExchange{srv: &dovecot{}, id: "1"}
		_, done, err := x.answer(line)
		if done && (err != nil || x.user == "" || !strings.HasPrefix(line, "OK\t")) {
			t.Errorf("%q is success for %q, %v", line, x.user, err)
		}
		parseMech(line)
	})
}
