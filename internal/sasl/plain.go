package sasl

import (
	"bytes"
	"context"
	"unicode/utf8"
)

// localExchange is what the exchanges of a localServer share.
type localExchange struct {
	srv     *localServer
	initial []byte
	has     bool
	user    string
	step    int
}

// Username implements Exchange.
func (x *localExchange) Username() string { return x.user }

// Close implements Exchange.
func (x *localExchange) Close() {}

// take returns the response of a step: the initial one for the first.
func (x *localExchange) take(response []byte) (r []byte, ok bool) {
	x.step++
	if x.step == 1 {
		return x.initial, x.has
	}
	return response, true
}

// plainExchange is PLAIN (RFC 4616).
type plainExchange struct{ localExchange }

func newPlainExchange(x localExchange, _ string) Exchange { return &plainExchange{x} }

// Next implements Exchange.
func (x *plainExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	r, ok := x.take(response)
	if !ok {
		return nil, false, nil // an empty challenge asks for the response
	}
	authzid, user, password, ok := parsePlain(r)
	if !ok {
		return nil, false, x.srv.malformed(x.srv.words.form...)
	}
	x.user = user
	if authzid != "" && authzid != user {
		return nil, false, x.srv.wrong(x.srv.words.other...)
	}
	if err := x.srv.verify(ctx, user, password, x.srv.words.plain...); err != nil {
		return nil, false, err
	}
	x.user = x.srv.accounts.name(user)
	return nil, true, nil
}

// parsePlain takes the message of PLAIN apart.
// RFC 4616 2: message = [authzid] NUL authcid NUL passwd, all in UTF-8
func parsePlain(r []byte) (authzid, user, password string, ok bool) {
	parts := bytes.Split(r, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(r) {
		return "", "", "", false
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), true
}

// loginExchange is LOGIN, which no RFC describes: the server asks for the name
// and then for the password.
type loginExchange struct{ localExchange }

func newLoginExchange(x localExchange, _ string) Exchange { return &loginExchange{x} }

// Next implements Exchange.
func (x *loginExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	r, ok := x.take(response)
	switch {
	case !ok:
		return []byte("Username:"), false, nil
	case x.user == "":
		if len(r) == 0 || !utf8.Valid(r) || bytes.IndexByte(r, 0) >= 0 {
			return nil, false, x.srv.malformed()
		}
		x.user = string(r)
		return []byte("Password:"), false, nil
	}
	if len(r) == 0 || bytes.IndexByte(r, 0) >= 0 {
		return nil, false, x.srv.malformed()
	}
	if err := x.srv.verify(ctx, x.user, string(r)); err != nil {
		return nil, false, err
	}
	x.user = x.srv.accounts.name(x.user)
	return nil, true, nil
}
