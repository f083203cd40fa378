package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postroad/internal/mail"
)

// Errors of an exchange; test for them with errors.Is.
var (
	// ErrAuth means that the credentials are wrong; AuthError says more.
	ErrAuth = errors.New("authentication failure")
	// ErrTemporary means that nobody can tell now.
	ErrTemporary = errors.New("temporary authentication failure")
	// ErrMechanism means that there is no such mechanism for this session.
	ErrMechanism = errors.New("invalid authentication mechanism")
)

// AuthError is a refusal with a reason that the client may read, and perhaps
// details for the log.
type AuthError struct {
	Reason  string
	Details []string
	// Decided means that what Username tells, even nothing, is the name that was
	// tried; else it stays that of the attempt before.
	Decided bool
	// mechanism marks a refusal of the mechanism, which is an ErrMechanism too.
	mechanism bool
}

// Is makes the refusal of a mechanism an ErrMechanism.
func (e *AuthError) Is(target error) bool { return e.mechanism && target == ErrMechanism }

// Error implements error.
func (e *AuthError) Error() string { return e.Reason }

// Unwrap makes an AuthError an ErrAuth.
func (e *AuthError) Unwrap() error { return ErrAuth }

// TemporaryError is an ErrTemporary with a reason that the client may read, and
// the cause and perhaps details for the log.
type TemporaryError struct {
	Reason  string
	Cause   error
	Details []string
	// Throttled means that nobody was asked.
	Throttled bool
}

// Error implements error.
func (e *TemporaryError) Error() string {
	if e.Cause != nil {
		return e.Reason + ": " + e.Cause.Error()
	}
	return e.Reason
}

// Unwrap makes a TemporaryError an ErrTemporary.
func (e *TemporaryError) Unwrap() error { return ErrTemporary }

// Request begins an exchange.
type Request struct {
	Mechanism string
	// Initial is the initial response, decoded; HasInitial tells an empty one
	// from none (RFC 4954 4).
	Initial    []byte
	HasInitial bool
	// Session says who asks.
	Session *mail.Session
}

// Server authenticates clients. It is safe for concurrent use.
type Server interface {
	// Mechanisms lists what may be used in a session with or without TLS; none
	// when the authentication service cannot be reached, which is the error.
	Mechanisms(ctx context.Context, tls bool) ([]string, error)
	// Begin starts an exchange. Errors: ErrMechanism, ErrTemporary.
	Begin(ctx context.Context, r *Request) (Exchange, error)
}

// Exchange is one authentication. The caller ends it with Close.
type Exchange interface {
	// Next takes the client's response and returns the next challenge, or done.
	// The first call has no response: the initial one came with Begin. An
	// error ends the exchange: ErrAuth or ErrTemporary.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Username is the login name as far as it is known, also after a failure.
	Username() string
	// Close releases what the exchange holds; it may end it early.
	Close()
}

// Table is what a lookup table must do (the Table of package table does).
type Table interface {
	// Lookup returns the value for key; an error means try later.
	Lookup(ctx context.Context, key string) (value string, ok bool, err error)
}

// Matcher is a list that some names are in (the MatchList of package table).
type Matcher interface {
	// Match tells whether s is in the list; an error means try later.
	Match(ctx context.Context, s string) (bool, error)
}

// Deps is what New needs from the rest of the house.
type Deps struct {
	// Open opens a lookup table by its type:name.
	Open func(spec string) (Table, error)
	// Accounts opens the password database of Cyrus SASL by its path.
	Accounts func(path string) Table
	// List makes the list of a parameter.
	List func(param string, items []string) (Matcher, error)
	// Read reads a whole file; nil is os.ReadFile.
	Read func(path string) ([]byte, error)
}

// kinds are the values of smtpd_sasl_type.
var kinds = map[string]func(s *Settings, pol policy, d *Deps) (Server, error){
	"cyrus": newCyrus, "dovecot": newDovecot, "postroad": newTable,
}

// New makes the Server that the settings describe.
func New(s *Settings, d Deps) (Server, error) {
	pol, err := newPolicy(s, d.List)
	if err != nil {
		return nil, err
	}
	make, ok := kinds[strings.ToLower(s.Type)]
	if !ok {
		return nil, fmt.Errorf("smtpd_sasl_type = %s: not one of cyrus, dovecot, postroad", s.Type)
	}
	return make(s, pol, &d)
}
