package table

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/go-ldap/ldap/v3"
)

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
