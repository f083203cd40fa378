package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// limited is a Server under a limit, so that login can play it. asked counts the
// exchanges that got as far as the server.
type limited struct {
	Server
	throttle *Throttle
	limit    Limit
}

func (l *limited) Begin(ctx context.Context, r *Request) (Exchange, error) {
	return l.throttle.Begin(ctx, l.Server, r, l.limit)
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &limited{newTestServer(t, Settings{}), NewThrottle(), Limit{3, 10 * time.Minute}}
		try := func(want error, throttled bool, mech, user, password string) {
			t.Helper()
			responses := []string{user, password}
			if mech == "PLAIN" {
				responses = []string{"\x00" + user + "\x00" + password}
			}
			name, _, err := login(srv, mech, mech == "PLAIN", responses...)
			var later *TemporaryError
			if !errors.Is(err, want) || (err == nil) != (want == nil) || errors.As(err, &later) && later.Throttled != throttled || name != user {
				t.Errorf("%s %s %s: %q, %v", mech, user, password, name, err)
			}
		}
		try(ErrAuth, false, "PLAIN", "plain", "x")
		time.Sleep(time.Minute)
		try(ErrAuth, false, "LOGIN", "PLAIN", "x")
		try(nil, false, "LOGIN", "plain", "secret pass")
		try(ErrTemporary, false, "PLAIN", "down", "x")
		try(ErrAuth, false, "PLAIN", "plain", "x")
		try(ErrTemporary, true, "PLAIN", "plain", "secret pass")
		try(ErrTemporary, true, "LOGIN", "plain", "secret pass")
		try(nil, false, "PLAIN", "clear", "secret pass")
		time.Sleep(9*time.Minute - time.Second)
		try(ErrTemporary, true, "PLAIN", "plain", "secret pass")
		time.Sleep(time.Second)
		try(nil, false, "PLAIN", "plain", "secret pass")
		for range 5 { // trouble of the table is nobody's failure
			try(ErrTemporary, false, "PLAIN", "down", "x")
		}
	})
}

// TestThrottleBounds: the oldest go when there are too many.
func TestThrottleBounds(t *testing.T) {
	t.Parallel()
	th, limit := NewThrottle(), Limit{1, time.Hour}
	for i := range maxThrottled + 1 {
		th.fail(fmt.Sprint(i), limit)
	}
	if len(th.accounts) != maxThrottled || th.order.Len() != maxThrottled || th.blocked("0", limit) || !th.blocked("1", limit) {
		t.Errorf("%d accounts", len(th.accounts))
	}
	srv := newTestServer(t, Settings{})
	r := &Request{Mechanism: "PLAIN", Initial: []byte("\x00plain\x00x"), HasInitial: true}
	for _, x := range []*Throttle{nil, th} {
		if x, err := x.Begin(context.Background(), srv, r, Limit{}); err != nil {
			t.Error(err)
		} else if _, ok := x.(*throttled); ok {
			t.Error("limited without a limit")
		}
	}
}

func TestNamedIn(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{"PLAIN", "a\x00joe\x00x", "joe"}, {"plain", "joe", ""}, {"LOGIN", "joe", "joe"}, {"LOGIN", "", ""},
		{"CRAM-MD5", "joe doe 0123456789abcdef0123456789abcdef", "joe doe"},
		{"DIGEST-MD5", `charset=utf-8,username="joe",realm="x"`, "joe"}, {"DIGEST-MD5", `username="joe`, ""},
		{"SCRAM-SHA-256", "n,,n=a=2Cb=3Dc,r=x", "a,b=c"}, {"SCRAM-SHA-256-PLUS", "p=tls-exporter,a=z,n=joe,r=x", "joe"}, {"SCRAM-SHA-1", "n,,joe", ""},
		{"XOAUTH2", "user=joe\x01auth=Bearer x\x01\x01", "joe"}, {"OAUTHBEARER", "n,a=joe,\x01host=x\x01", "joe"},
		{"GSSAPI", "joe", ""},
	} {
		if got := namedIn(tt[0], []byte(tt[1])); got != tt[2] {
			t.Errorf("%s %q: %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

func FuzzNamedIn(f *testing.F) {
	f.Add("SCRAM-SHA-1", "n,,n=a=2Cb,r=x")
	f.Add("DIGEST-MD5", `username="x"`)
	f.Fuzz(func(t *testing.T, mech, response string) {
		if name := namedIn(mech, []byte(response)); len(name) > len(response) || strings.Contains(mech, "GSS") && name != "" {
			t.Errorf("%q %q: %q", mech, response, name)
		}
	})
}
