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
	// ErrEncryptionRequired means that the mechanism is there under TLS only.
	ErrEncryptionRequired = errors.New("encryption required for requested authentication mechanism")
)

// AuthError is a refusal with a reason that the client may read.
type AuthError struct{ Reason string }

// Error implements error.
func (e *AuthError) Error() string { return e.Reason }

// Unwrap makes an AuthError an ErrAuth.
func (e *AuthError) Unwrap() error { return ErrAuth }

// TemporaryError is an ErrTemporary with a reason that the client may read and
// the cause for the log.
type TemporaryError struct {
	Reason string
	Cause  error
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
	// Begin starts an exchange. Errors: ErrMechanism, ErrEncryptionRequired,
	// ErrTemporary.
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

// New makes the Server that the settings describe. open opens a lookup table
// by its type:name.
func New(s *Settings, open func(spec string) (Table, error)) (Server, error) {
	pol, err := newPolicy(s)
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(s.Type) {
	case "dovecot":
		return newDovecot(s, pol)
	case "postroad":
		t, err := open(s.Path)
		if err != nil {
			return nil, fmt.Errorf("smtpd_sasl_path: %w", err)
		}
		return newTableServer(s, pol, t), nil
	case "cyrus":
		return nil, errors.New(`smtpd_sasl_type = cyrus is not supported: use "dovecot" with Dovecot's auth socket, ` +
			`or "postroad" with smtpd_sasl_path = type:table of user names and password hashes`)
	}
	return nil, fmt.Errorf("smtpd_sasl_type = %s: not one of dovecot, postroad", s.Type)
}
