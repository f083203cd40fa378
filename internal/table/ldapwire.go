package table

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Bounds of what a directory may send.
const (
	// maxLDAPReply bounds all messages that answer one search: a group of a
	// hundred thousand members fits.
	maxLDAPReply = 16 << 20
	// maxLDAPText bounds the server's words in an error.
	maxLDAPText = 200
)

// Tags of LDAP messages (RFC 4511, appendix B), as they stand in the bytes.
const (
	tagBoolean    = 0x01
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31

	tagBind        = 0x60
	tagSimple      = 0x80
	tagSASL        = 0xa3
	tagSearch      = 0x63
	tagExtended    = 0x77
	tagRequestName = 0x80

	tagBindReply     = 0x61
	tagSearchEntry   = 0x64
	tagSearchDone    = 0x65
	tagSearchRef     = 0x73
	tagExtendedReply = 0x78
	tagIntermediate  = 0x79
	tagReferral      = 0xa3
)

// oidStartTLS is the name of the operation (RFC 4511 section 4.14.1).
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

// errLDAPMessage is the cause when the bytes of a server are no LDAP.
var errLDAPMessage = errors.New("malformed LDAP message")

// ldapError is a result of a server that is not success.
type ldapError struct {
	code int
	text string
	// referrals are the places where the answer may be found.
	referrals []string
}

// Error implements error.
func (e *ldapError) Error() string {
	name := ldap.LDAPResultCodeMap[uint16(e.code)]
	if e.text == "" {
		return fmt.Sprintf("LDAP error %d: %s", e.code, name)
	}
	return fmt.Sprintf("LDAP error %d: %s: %s", e.code, name, printable(e.text, maxLDAPText))
}

// ldapSearch is one search.
type ldapSearch struct {
	base         string
	scope        int
	filter       string
	attributes   []string
	sizeLimit    int
	derefAliases int
	timeout      time.Duration
}

// ldapAttr is an attribute of an entry.
type ldapAttr struct {
	name   string
	values []string
}

// ldapFound is what a search returned.
type ldapFound struct {
	entries [][]ldapAttr
	// references are the places where more may be found.
	references []string
}

// request makes the operation of a search (RFC 4511 section 4.5.1).
func (s *ldapSearch) request() ([]byte, error) {
	filter, err := ldap.CompileFilter(s.filter)
	if err != nil {
		return nil, err
	}
	var attributes []byte
	for _, name := range s.attributes {
		attributes = appendBER(attributes, tagOctets, name)
	}
	op := appendBER(nil, tagOctets, s.base)
	op = appendInt(op, tagEnumerated, s.scope)
	op = appendInt(op, tagEnumerated, s.derefAliases)
	op = appendInt(op, tagInteger, s.sizeLimit)
	op = appendInt(op, tagInteger, int(s.timeout/time.Second))
	op = append(op, tagBoolean, 1, 0)
	op = append(op, filter.Bytes()...)
	return appendBER(op, tagSequence, attributes), nil
}

// ldapSend sends an operation as the next message, and sets the time that the
// answer has.
func (c *remoteConn) ldapSend(tag byte, op []byte, timeout time.Duration) error {
	c.serial++
	message := appendBER(appendInt(nil, tagInteger, c.serial), tag, op)
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	c.buf = appendBER(c.buf[:0], tagSequence, message)
	_, err := c.Write(c.buf)
	return err
}

// search does one search and reads all of its answer.
func (c *remoteConn) search(s *ldapSearch) (ldapFound, error) {
	var found ldapFound
	op, err := s.request()
	if err == nil {
		err = c.ldapSend(tagSearch, op, s.timeout)
	}
	for budget := maxLDAPReply; err == nil; {
		var tag byte
		var body []byte
		if tag, body, err = c.ldapReply(&budget); err != nil {
			break
		}
		switch tag {
		case tagSearchEntry:
			var entry []ldapAttr
			entry, err = parseLDAPEntry(body)
			found.entries = append(found.entries, entry)
		case tagSearchRef:
			var refs []string
			refs, err = berStrings(body)
			found.references = append(found.references, refs...)
		case tagSearchDone:
			if err = parseLDAPResult(body); err == nil {
				return found, nil
			}
		case tagIntermediate:
		default:
			err = errLDAPMessage
		}
	}
	return ldapFound{}, err
}

// call does an operation that has one reply.
func (c *remoteConn) call(tag byte, op []byte, reply byte, timeout time.Duration) error {
	if err := c.ldapSend(tag, op, timeout); err != nil {
		return err
	}
	budget := maxLDAPReply
	got, body, err := c.ldapReply(&budget)
	if err == nil && got != reply {
		err = errLDAPMessage
	}
	if err != nil {
		return err
	}
	return parseLDAPResult(body)
}

// bind authenticates (RFC 4511 section 4.2); mechanism is a SASL mechanism that
// needs no secret, or empty for a simple bind.
func (c *remoteConn) bind(dn, secret, mechanism string, timeout time.Duration) error {
	op := appendBER(appendInt(nil, tagInteger, 3), tagOctets, dn)
	if mechanism == "" {
		op = appendBER(op, tagSimple, secret)
	} else {
		op = appendBER(op, tagSASL, appendBER(appendBER(nil, tagOctets, mechanism), tagOctets, secret))
	}
	err := c.call(tagBind, op, tagBindReply, timeout)
	var result *ldapError
	if errors.As(err, &result) {
		// What a server says about a password may be the password.
		return &ldapError{code: result.code}
	}
	return err
}

// startTLS begins encryption (RFC 4511 section 4.14). Nothing that came in
// before it is read after it.
func (c *remoteConn) startTLS(ctx context.Context, config *tls.Config, timeout time.Duration) error {
	if err := c.call(tagExtended, appendBER(nil, tagRequestName, oidStartTLS), tagExtendedReply, timeout); err != nil {
		return err
	}
	if c.r.Buffered() > 0 {
		return errRemoteGarbage
	}
	conn := tls.Client(c.Conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn = conn
	c.r.Reset(conn)
	return nil
}

// ldapReply reads the next message that belongs to the last request.
func (c *remoteConn) ldapReply(budget *int) (tag byte, body []byte, err error) {
	message, err := readLDAPMessage(c.r, budget)
	if err != nil {
		return 0, nil, err
	}
	id, tag, body, err := parseLDAPMessage(message)
	switch {
	case err != nil:
		return 0, nil, err
	case id == 0: // RFC 4511 section 4.4.1: notice of disconnection
		return 0, nil, fmt.Errorf("the server ends the connection: %w", io.ErrUnexpectedEOF)
	case id != c.serial:
		return 0, nil, fmt.Errorf("%w: it answers no question", errLDAPMessage)
	}
	return tag, body, nil
}
