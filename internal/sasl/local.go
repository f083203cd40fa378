package sasl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/go-crypt/crypt"

	"postroad/internal/mail"
)

const (
	// maxPassword bounds a password: hashes of crypt(3) cost the square of it.
	maxPassword = 1024
	// maxUser bounds a login name.
	maxUser = 512
)

// accounts is where the passwords are.
type accounts interface {
	// name is the login name of somebody who gives this user name.
	name(user string) string
	// lookup returns the stored password of a user; an error means try later.
	lookup(ctx context.Context, user string) (value string, ok bool, err error)
}

// verifier is an accounts that does not give passwords away: it compares them.
type verifier interface {
	accounts
	// verify compares a password; an error means try later.
	verify(ctx context.Context, user, password string) (ok bool, err error)
}

// words are what clients and the log are told.
type words struct {
	wrong, malformed, later string
	// noMechanism is for mechanisms that are not there; empty for the words of
	// the caller.
	noMechanism string
	// plain, other and form are details for the log of PLAIN: of a refused
	// password, of acting as somebody else, of a malformed response.
	plain, other, form []string
}

// localServer speaks the mechanisms itself.
type localServer struct {
	policy
	mechs    []mechanism
	words    words
	accounts accounts
	host     string
	decoder  *crypt.Decoder
	work     *budget
	// dummy is a stored value of the kind that the accounts have, to spend on
	// unknown users. derives tells whether SCRAM had to compute for the last
	// user who was known.
	dummy   atomic.Pointer[string]
	derives atomic.Bool
	// shape is that of the last user who was known by what is kept for SCRAM.
	shape atomic.Pointer[scramShape]
	// secret is what inventions for unknown users are made of.
	secret []byte
}

// firstDummy is compared with for unknown users until a known one was seen.
const firstDummy = "{SHA512-CRYPT}$6$postroadnobody$" +
	"wQMpc5QZJw5rbCBhXCLb2mZNTd2mGqqCZVbUj3gCIYbDGWBuzZCGtXLJ9WBWMEUBmeXvxyOwTYRJcRpMpnDUS/"

// localMechanism is a mechanism that is spoken here.
type localMechanism struct {
	mechanism
	// secret marks mechanisms that need the stored password.
	secret bool
	begin  func(x localExchange, mech string) Exchange
}

// localMechanisms has one row per mechanism.
var localMechanisms = [...]localMechanism{
	{mechanism{"PLAIN", propPlaintext | propActive | propDictionary}, false, newPlainExchange},
	{mechanism{"LOGIN", propPlaintext | propActive | propDictionary}, false, newLoginExchange},
	{mechanism{"CRAM-MD5", propActive | propDictionary}, true, newCramExchange},
	{mechanism{"SCRAM-SHA-1", propActive | propDictionary | propMutual}, true, newScramExchange},
	{mechanism{"SCRAM-SHA-256", propActive | propDictionary | propMutual}, true, newScramExchange},
}

// newLocal makes a server without mechanisms.
func newLocal(pol policy, a accounts, w words, host string) (*localServer, error) {
	decoder, err := newDecoder()
	if err != nil {
		return nil, err
	}
	s := &localServer{
		policy: pol, accounts: a, words: w, host: host, decoder: decoder,
		work: newBudget(), secret: []byte(rand.Text()),
	}
	dummy := firstDummy
	s.dummy.Store(&dummy)
	return s, nil
}

// Mechanisms implements Server.
func (s *localServer) Mechanisms(ctx context.Context, tls bool) ([]string, error) {
	return s.names(ctx, s.mechs, tls), nil
}

// Begin implements Server.
func (s *localServer) Begin(ctx context.Context, r *Request) (Exchange, error) {
	m, err := s.find(ctx, s.mechs, r.Mechanism, hasTLS(r.Session))
	if err == ErrMechanism && s.words.noMechanism != "" {
		return nil, &AuthError{
			Reason: s.words.noMechanism, Details: []string{"Couldn't find mech " + clip(r.Mechanism)}, Decided: true, mechanism: true,
		}
	}
	if err != nil {
		return nil, err
	}
	x := localExchange{srv: s, initial: r.Initial, has: r.HasInitial}
	for _, row := range localMechanisms {
		if row.name == m.name {
			return row.begin(x, m.name), nil
		}
	}
	return nil, ErrMechanism
}

func hasTLS(s *mail.Session) bool { return s != nil && s.TLS != nil }

// clip shortens a word of the client for the log.
func clip(s string) string { return s[:min(len(s), 100)] }

// wrong is the error for credentials that are wrong.
func (s *localServer) wrong(details ...string) error {
	return &AuthError{Reason: s.words.wrong, Details: details, Decided: true}
}

// malformed is the error for a response of another form.
func (s *localServer) malformed(details ...string) error {
	return &AuthError{Reason: s.words.malformed, Details: details, Decided: true}
}

// later is the error for what cannot be decided now.
func (s *localServer) later(cause error) *TemporaryError {
	return &TemporaryError{Reason: s.words.later, Cause: fmt.Errorf("SASL: %w", cause)}
}

// stored finds the stored password of a user; nil for an unknown one.
func (s *localServer) stored(ctx context.Context, user string) (*stored, error) {
	if !validName(user) {
		return nil, nil
	}
	value, ok, err := s.accounts.lookup(ctx, user)
	if err != nil {
		return nil, s.later(err)
	}
	if !ok {
		return nil, nil
	}
	v, err := parseStored(s.decoder, value)
	if err != nil {
		return nil, s.later(err)
	}
	return v, nil
}

// verify decides about a password; the details are for the log when it is wrong.
func (s *localServer) verify(ctx context.Context, user, password string, details ...string) error {
	if !validName(user) || len(password) > maxPassword {
		return s.wrong(details...)
	}
	if v, ok := s.accounts.(verifier); ok {
		ok, err := v.verify(ctx, user, password)
		switch {
		case err != nil:
			return &TemporaryError{Reason: s.words.later, Details: append([]string{err.Error()}, details...)}
		case !ok:
			return s.wrong(details...)
		}
		return nil
	}
	value, known, err := s.accounts.lookup(ctx, user)
	if err != nil {
		return s.later(err)
	}
	if !known {
		value = *s.dummy.Load()
	}
	match, err := s.compare(ctx, value, password)
	var later *TemporaryError
	switch {
	case errors.As(err, &later):
		return later
	case err != nil && known:
		return s.later(err)
	case !known: // the answer was known; only the time was wanted
		return s.wrong(details...)
	}
	if value != *s.dummy.Load() {
		s.dummy.Store(&value)
	}
	if !match {
		return s.wrong(details...)
	}
	return nil
}

// compare compares a password with a stored value, when there are means for it.
func (s *localServer) compare(ctx context.Context, value, password string) (bool, error) {
	v, err := parseStored(s.decoder, value)
	if err != nil {
		return false, err
	}
	memory, err := v.memory()
	if err != nil {
		return false, err
	}
	done, err := s.work.take(ctx, memory)
	if err != nil {
		return false, err
	}
	defer done()
	return v.matches(password)
}

// validName tells whether somebody may have such a login name. Control characters
// separate fields in databases.
func validName(user string) bool {
	return len(user) <= maxUser && utf8.ValidString(user) && !strings.ContainsFunc(user, unicode.IsControl)
}
