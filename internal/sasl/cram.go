package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// cramExchange is CRAM-MD5 (RFC 2195), for accounts whose passwords are stored
// as they are.
type cramExchange struct {
	localExchange
	challenge string
}

func newCramExchange(x localExchange, _ string) Exchange { return &cramExchange{localExchange: x} }

// Next implements Exchange.
func (x *cramExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	r, ok := x.take(response)
	if x.challenge == "" {
		if ok {
			return nil, false, x.srv.malformed() // the server speaks first
		}
		x.challenge = "<" + rand.Text() + "@" + x.srv.host + ">"
		return []byte(x.challenge), false, nil
	}
	user, want, ok := parseCram(string(r))
	if !ok {
		return nil, false, x.srv.malformed()
	}
	x.user = user
	v, err := x.srv.stored(ctx, user)
	if err != nil {
		return nil, false, err
	}
	password, known := string(x.srv.invent("password", "CRAM-MD5", user)), false
	if v != nil {
		if text, ok := v.cleartext(); ok {
			password, known = text, true
		}
	}
	m := hmac.New(md5.New, []byte(password))
	_, _ = m.Write([]byte(x.challenge)) // never fails
	if same := hmac.Equal(m.Sum(nil), want); !same || !known {
		return nil, false, x.srv.wrong()
	}
	x.user = x.srv.accounts.name(user)
	return nil, true, nil
}

// parseCram reads a response: the user name, a space, the digest in hex. The name
// may have spaces.
func parseCram(s string) (user string, digest []byte, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i <= 0 || i > maxUser {
		return "", nil, false
	}
	digest, err := hex.DecodeString(s[i+1:])
	return s[:i], digest, err == nil && len(digest) == md5.Size
}
