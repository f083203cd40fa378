package table

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
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

// appendBER appends an element.
func appendBER[T string | []byte](dst []byte, tag byte, body T) []byte {
	dst = append(dst, tag)
	switch n := len(body); {
	case n < 0x80:
		dst = append(dst, byte(n))
	case n < 0x100:
		dst = append(dst, 0x81, byte(n))
	case n < 0x10000:
		dst = append(dst, 0x82, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, body...)
}

// appendInt appends a number that is not negative, with this tag.
func appendInt(dst []byte, tag byte, n int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	for len(b) > 1 && b[0] == 0 && b[1] < 0x80 {
		b = b[1:]
	}
	return appendBER(dst, tag, b)
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

// readLDAPMessage reads one message, without its tag and length, and takes its
// size from the budget.
func readLDAPMessage(r *bufio.Reader, budget *int) ([]byte, error) {
	tag, err := r.ReadByte()
	if err != nil {
		return nil, unexpectedEOF(err)
	}
	if tag != tagSequence {
		return nil, errLDAPMessage
	}
	first, err := r.ReadByte()
	if err != nil {
		return nil, unexpectedEOF(err)
	}
	size := int(first)
	if first >= 0x80 {
		// RFC 4511 section 5.1: only the definite form of a length.
		if first == 0x80 || first > 0x84 {
			return nil, errLDAPMessage
		}
		size = 0
		for range first - 0x80 {
			c, err := r.ReadByte()
			if err != nil {
				return nil, unexpectedEOF(err)
			}
			size = size<<8 | int(c)
		}
	}
	if *budget -= size; *budget < 0 {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxLDAPReply)
	}
	if size <= remoteBuffer {
		b := make([]byte, size)
		_, err := io.ReadFull(r, b)
		return b, unexpectedEOF(err)
	}
	// The memory grows with what arrives, not with what is announced.
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(size)); err != nil {
		return nil, unexpectedEOF(err)
	}
	return b.Bytes(), nil
}

// unexpectedEOF makes the end of a connection an error inside a message.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// berNext cuts the first element off b.
func berNext(b []byte) (tag byte, body, rest []byte, err error) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, errLDAPMessage
	}
	size, start := int(b[1]), 2
	if size >= 0x80 {
		n := size - 0x80
		if n == 0 || n > 4 || len(b) < 2+n {
			return 0, nil, nil, errLDAPMessage
		}
		size, start = 0, 2+n
		for _, c := range b[2:start] {
			size = size<<8 | int(c)
		}
	}
	if size > len(b)-start {
		return 0, nil, nil, errLDAPMessage
	}
	return b[0], b[start : start+size], b[start+size:], nil
}

// berTagged is berNext for an element that must have this tag.
func berTagged(b []byte, want byte) (body, rest []byte, err error) {
	tag, body, rest, err := berNext(b)
	if err == nil && tag != want {
		err = errLDAPMessage
	}
	return body, rest, err
}

// berStrings reads OCTET STRINGs to the end of b.
func berStrings(b []byte) ([]string, error) {
	var all []string
	for len(b) > 0 {
		body, rest, err := berTagged(b, tagOctets)
		if err != nil {
			return nil, err
		}
		all = append(all, string(body))
		b = rest
	}
	return all, nil
}

// berInt reads an INTEGER or an ENUMERATED that is not negative.
func berInt(body []byte) (int, error) {
	if len(body) == 0 || len(body) > 4 || body[0] >= 0x80 {
		return 0, errLDAPMessage
	}
	n := 0
	for _, c := range body {
		n = n<<8 | int(c)
	}
	return n, nil
}

// parseLDAPMessage reads the number and the operation of a message; controls
// are of no interest.
func parseLDAPMessage(message []byte) (id int, tag byte, body []byte, err error) {
	number, rest, err := berTagged(message, tagInteger)
	if err != nil {
		return 0, 0, nil, err
	}
	if id, err = berInt(number); err != nil {
		return 0, 0, nil, err
	}
	tag, body, _, err = berNext(rest)
	return id, tag, body, err
}

// parseLDAPResult reads an LDAPResult (RFC 4511 section 4.1.9); success is nil.
func parseLDAPResult(body []byte) error {
	number, rest, err := berTagged(body, tagEnumerated)
	if err != nil {
		return err
	}
	result := new(ldapError)
	if result.code, err = berInt(number); err != nil {
		return err
	}
	if _, rest, err = berTagged(rest, tagOctets); err != nil {
		return err
	}
	text, rest, err := berTagged(rest, tagOctets)
	if err != nil {
		return err
	}
	if result.code == ldap.LDAPResultSuccess {
		return nil
	}
	result.text = string(text)
	if len(rest) > 0 && rest[0] == tagReferral {
		refs, _, err := berTagged(rest, tagReferral)
		if err != nil {
			return err
		}
		if result.referrals, err = berStrings(refs); err != nil {
			return err
		}
	}
	return result
}

// parseLDAPEntry reads a SearchResultEntry (RFC 4511 section 4.5.2).
func parseLDAPEntry(body []byte) ([]ldapAttr, error) {
	_, rest, err := berTagged(body, tagOctets)
	if err != nil {
		return nil, err
	}
	list, _, err := berTagged(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	var entry []ldapAttr
	for len(list) > 0 {
		var item []byte
		if item, list, err = berTagged(list, tagSequence); err != nil {
			return nil, err
		}
		name, rest, err := berTagged(item, tagOctets)
		if err != nil {
			return nil, err
		}
		set, _, err := berTagged(rest, tagSet)
		if err != nil {
			return nil, err
		}
		values, err := berStrings(set)
		if err != nil {
			return nil, err
		}
		entry = append(entry, ldapAttr{name: string(name), values: values})
	}
	return entry, nil
}
