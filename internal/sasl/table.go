package sasl

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/go-crypt/crypt"

	"postroad/internal/mail"
)

// tableServer authenticates against a table of password hashes.
type tableServer struct {
	policy
	table   Table
	domain  string
	decoder *crypt.Decoder
	// work limits how many hashes are computed at a time: they are made to
	// cost time and memory.
	work chan struct{}
	// dummy is a stored value of the kind that the table has, to spend on
	// unknown users.
	dummy atomic.Pointer[string]
}

// firstDummy is compared with for unknown users until a known one was seen.
const firstDummy = "{SHA512-CRYPT}$6$postroadnobody$" +
	"wQMpc5QZJw5rbCBhXCLb2mZNTd2mGqqCZVbUj3gCIYbDGWBuzZCGtXLJ9WBWMEUBmeXvxyOwTYRJcRpMpnDUS/"

// tableMechanisms are the mechanisms of a table.
func tableMechanisms() []mechanism {
	const weak = propPlaintext | propActive | propDictionary
	return []mechanism{{"PLAIN", weak}, {"LOGIN", weak}}
}

func newTableServer(s *Settings, pol policy, t Table) *tableServer {
	decoder, err := newDecoder()
	if err != nil {
		// Registering the built-in algorithms fails only when two of them
		// share a name; an empty decoder then answers every login with try later.
		decoder = crypt.NewDecoder()
	}
	srv := &tableServer{
		policy: pol, table: t, domain: s.LocalDomain, decoder: decoder,
		work: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	dummy := firstDummy
	srv.dummy.Store(&dummy)
	return srv
}

// Mechanisms implements Server.
func (s *tableServer) Mechanisms(_ context.Context, tls bool) ([]string, error) {
	return s.names(tableMechanisms(), tls), nil
}

// Begin implements Server.
func (s *tableServer) Begin(_ context.Context, r *Request) (Exchange, error) {
	m, err := s.find(tableMechanisms(), r.Mechanism, hasTLS(r.Session))
	if err != nil {
		return nil, err
	}
	x := tableExchange{srv: s, initial: r.Initial, has: r.HasInitial}
	if m.name == "PLAIN" {
		return &plainExchange{tableExchange: x}, nil
	}
	return &loginExchange{tableExchange: x}, nil
}

func hasTLS(s *mail.Session) bool { return s != nil && s.TLS != nil }

// verify looks the user up and compares the password.
func (s *tableServer) verify(ctx context.Context, user, password string) error {
	stored, ok, err := s.table.Lookup(ctx, user)
	if err == nil && !ok && s.domain != "" && !strings.Contains(user, "@") {
		stored, ok, err = s.table.Lookup(ctx, user+"@"+s.domain)
	}
	if err != nil {
		return &TemporaryError{Reason: "Password table lookup error", Cause: err}
	}
	select {
	case s.work <- struct{}{}:
	case <-ctx.Done():
		return &TemporaryError{Reason: "Server busy", Cause: ctx.Err()}
	}
	defer func() { <-s.work }()
	if !ok {
		// The answer is known; only the time is wanted.
		_, _ = checkPassword(s.decoder, *s.dummy.Load(), password)
		return &AuthError{Reason: "Invalid user name or password"}
	}
	match, err := checkPassword(s.decoder, stored, password)
	if err != nil {
		return &TemporaryError{Reason: "Password table error", Cause: err}
	}
	if stored != *s.dummy.Load() {
		s.dummy.Store(&stored)
	}
	if !match {
		return &AuthError{Reason: "Invalid user name or password"}
	}
	return nil
}

// tableExchange is what the two mechanisms share.
type tableExchange struct {
	srv     *tableServer
	initial []byte
	has     bool
	user    string
	step    int
}

// Username implements Exchange.
func (x *tableExchange) Username() string { return x.user }

// Close implements Exchange.
func (x *tableExchange) Close() {}

// take returns the response of a step: the initial one for the first.
func (x *tableExchange) take(response []byte) (r []byte, ok bool) {
	x.step++
	if x.step == 1 {
		return x.initial, x.has
	}
	return response, true
}

// plainExchange is PLAIN (RFC 4616).
type plainExchange struct{ tableExchange }

// Next implements Exchange.
func (x *plainExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	r, ok := x.take(response)
	if !ok {
		return nil, false, nil // an empty challenge asks for the response
	}
	parts := bytes.Split(r, []byte{0})
	// RFC 4616 2: message = [authzid] NUL authcid NUL passwd, all in UTF-8
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(r) {
		return nil, false, &AuthError{Reason: "Malformed PLAIN response"}
	}
	x.user = string(parts[1])
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, false, &AuthError{Reason: "Acting as another user is not allowed"}
	}
	if err := x.srv.verify(ctx, x.user, string(parts[2])); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// loginExchange is LOGIN, which no RFC describes: the server asks for the name
// and then for the password.
type loginExchange struct{ tableExchange }

// Next implements Exchange.
func (x *loginExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	r, ok := x.take(response)
	switch {
	case !ok:
		return []byte("Username:"), false, nil
	case x.user == "":
		if len(r) == 0 || !utf8.Valid(r) || bytes.IndexByte(r, 0) >= 0 {
			return nil, false, &AuthError{Reason: "Malformed user name"}
		}
		x.user = string(r)
		return []byte("Password:"), false, nil
	}
	if len(r) == 0 || bytes.IndexByte(r, 0) >= 0 {
		return nil, false, &AuthError{Reason: "Malformed password"}
	}
	if err := x.srv.verify(ctx, x.user, string(r)); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}
