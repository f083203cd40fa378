package dns

import "errors"

// Kind says what a failed lookup means.
type Kind uint8

const (
	// Temporary means that nobody could answer now. It is the zero value, so
	// that an unset kind never reads as "does not exist".
	Temporary Kind = iota
	// NotFound means that the name does not exist (NXDOMAIN).
	NotFound
	// NoData means that the name exists without records of the type.
	NoData
	// Invalid means that there are records, but none that can be used. It is no
	// proof of absence; a caller that does not care takes it as Temporary.
	Invalid
)

// Texts of the resolver, as mail logs have always shown them.
const (
	textNotFound  = "Host not found"
	textTryAgain  = "Host not found, try again"
	textNoData    = "Host found but no data record of requested type"
	textMalformed = "Malformed or unexpected name server reply"
	textBadName   = "invalid host or domain name"
)

// Error is a lookup without a result.
type Error struct {
	Kind Kind
	// Name and Type are the question, Type in text ("MX"). Type is empty when
	// the name is no name, so that nobody was asked.
	Name, Type string
	// Text is the reason.
	Text string
	// Cause is what lies behind a temporary failure, or nil. It is for the log.
	Cause error
}

// Error implements error, in the words of the mail log.
func (e *Error) Error() string {
	if e.Type == "" {
		return "Name service error for " + e.Name + ": " + e.Text
	}
	return "Name service error for name=" + e.Name + " type=" + e.Type + ": " + e.Text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// IsTemporary tells whether err asks to try again: anything but the certain
// knowledge that there is nothing.
func IsTemporary(err error) bool {
	if err == nil {
		return false
	}
	return !IsNotFound(err)
}

// IsNotFound tells whether err is the certain knowledge that there is no such
// name or no such record.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == NotFound || e.Kind == NoData)
}
