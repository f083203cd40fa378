package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// scramRounds is the iteration count for passwords that are stored as they are,
// and what unknown users are shown: the least that RFC 7677 4 allows, and what
// Dovecot writes.
const scramRounds = 4096

// scramShape is what a client is told of an account before it proves anything: an
// unknown one looks like the last known one.
type scramShape struct{ rounds, salt int }

// scramHashes are the hash functions of the SCRAM mechanisms.
var scramHashes = map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256}

// parseSCRAM reads Dovecot's form "ROUNDS,SALT,STOREDKEY,SERVERKEY" of what a
// server keeps for SCRAM (RFC 5802 3).
func parseSCRAM(text string, size int) (scram.StoredCredentials, error) {
	var c scram.StoredCredentials
	parts := strings.Split(text, ",")
	if len(parts) != 4 {
		return c, errEncoded
	}
	rounds, err := strconv.Atoi(parts[0])
	if err != nil || rounds < 1 {
		return c, errEncoded
	}
	if rounds > maxRounds {
		return c, errCost
	}
	var raw [3][]byte
	for i, p := range parts[1:] {
		if raw[i], err = base64.StdEncoding.DecodeString(p); err != nil {
			return c, errEncoded
		}
	}
	if len(raw[0]) == 0 || len(raw[1]) != size || len(raw[2]) != size {
		return c, errEncoded
	}
	c.Salt, c.Iters, c.StoredKey, c.ServerKey = string(raw[0]), rounds, raw[1], raw[2]
	return c, nil
}

// deriveSCRAM makes of a password what a server keeps (RFC 5802 3).
func deriveSCRAM(h func() hash.Hash, password string, salt []byte, rounds int) (scram.StoredCredentials, error) {
	salted, err := pbkdf2.Key(h, password, salt, rounds, h().Size())
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	sum := func(key []byte, text string) []byte {
		m := hmac.New(h, key)
		_, _ = m.Write([]byte(text)) // never fails
		return m.Sum(nil)
	}
	key := h()
	_, _ = key.Write(sum(salted, "Client Key"))
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: rounds},
		StoredKey:  key.Sum(nil), ServerKey: sum(salted, "Server Key"),
	}, nil
}

// checkSCRAM compares a password with what is kept for SCRAM.
func checkSCRAM(v *stored, password string) (bool, error) {
	kept, err := parseSCRAM(v.text, v.hash().Size())
	if err != nil {
		return false, err
	}
	got, err := deriveSCRAM(v.hash, password, []byte(kept.Salt), kept.Iters)
	if err != nil {
		return false, errEncoded
	}
	return subtle.ConstantTimeCompare(got.StoredKey, kept.StoredKey) == 1, nil
}

// scramExchange is SCRAM (RFC 5802, RFC 7677) without channel binding.
type scramExchange struct {
	localExchange
	mech string
	conv *scram.ServerConversation
	// proved is set when the client has proved that it knows the password, and
	// has not yet answered the proof of the server.
	proved bool
}

func newScramExchange(x localExchange, mech string) Exchange {
	return &scramExchange{localExchange: x, mech: mech}
}

// Next implements Exchange.
func (x *scramExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	r, ok := x.take(response)
	if !ok {
		return nil, false, nil // an empty challenge asks for the first message
	}
	if x.proved {
		// RFC 4954 4: what the server has to say at the end is a challenge, which
		// has an empty response.
		if len(r) > 0 {
			return nil, false, x.srv.malformed()
		}
		return nil, true, nil
	}
	if x.conv == nil {
		if err := x.begin(ctx); err != nil {
			return nil, false, err
		}
	}
	answer, err := x.conv.Step(string(r))
	if user := x.conv.Username(); user != "" {
		x.user = x.srv.accounts.name(user)
	}
	var later *TemporaryError
	switch {
	case errors.As(err, &later):
		return nil, false, later
	case err != nil:
		return nil, false, x.srv.wrong()
	}
	if id := x.conv.AuthzID(); id != "" && id != x.conv.Username() {
		return nil, false, x.srv.wrong(x.srv.words.other...)
	}
	x.proved = x.conv.Valid()
	return []byte(answer), false, nil
}

// begin makes the conversation.
func (x *scramExchange) begin(ctx context.Context) error {
	lookup := func(user string) (scram.StoredCredentials, error) { return x.srv.scramCredentials(ctx, x.mech, user) }
	s, err := scramHashes[x.mech].NewServer(lookup)
	if err != nil {
		return x.srv.later(err)
	}
	x.conv = s.NewConversation()
	return nil
}

// scramCredentials finds what to compare with. An unknown user gets something
// that no password fits, the same each time.
func (s *localServer) scramCredentials(ctx context.Context, mech, user string) (scram.StoredCredentials, error) {
	h := func() hash.Hash { return scramHashes[mech]() }
	v, err := s.stored(ctx, user)
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	if v != nil && v.name == mech {
		c, err := parseSCRAM(v.text, h().Size())
		if err != nil {
			return c, s.later(err)
		}
		s.derives.Store(false)
		s.shape.Store(&scramShape{rounds: c.Iters, salt: len(c.Salt)})
		return c, nil
	}
	salt := s.invent("salt", mech, user)[:16]
	password, ok := "", false
	if v != nil {
		password, ok = v.cleartext()
	}
	if !ok {
		password = string(s.invent("password", mech, user))
		if !s.derives.Load() {
			key := s.invent("key", mech, user)[:h().Size()]
			shape := scramShape{rounds: scramRounds, salt: len(salt)}
			if last := s.shape.Load(); last != nil {
				shape = *last
				salt = s.invent("salt", mech, user)
			}
			return scram.StoredCredentials{
				KeyFactors: scram.KeyFactors{Salt: string(salt[:min(len(salt), shape.salt)]), Iters: shape.rounds}, StoredKey: key, ServerKey: key,
			}, nil
		}
	}
	done, err := s.work.take(ctx, 0)
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	defer done()
	if ok {
		s.derives.Store(true)
	}
	c, err := deriveSCRAM(h, password, salt, scramRounds)
	if err != nil {
		return c, s.later(err)
	}
	return c, nil
}

// invent makes bytes that nobody can guess, the same for the same words.
func (s *localServer) invent(words ...string) []byte {
	m := hmac.New(sha256.New, s.secret)
	_, _ = m.Write([]byte(strings.Join(words, "\x00"))) // never fails
	return m.Sum(nil)
}
