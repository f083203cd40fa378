package table

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// FakeLDAP is a directory for tests.
type FakeLDAP struct {
	// Entries has attributes as "name=value" by the DN of their entry. A search
	// with the scope base finds the entry, others find what has Filter's pairs.
	Entries map[string][]string
	// Log has what clients asked for.
	Log []string
	// Reply replaces the answers to searches when it is not nil. It is called
	// with the number of the search and of the message.
	Reply func(n, id int) []byte
	// BindCode is the result of a bind, StartTLS takes over a connection.
	BindCode int
	StartTLS func(c net.Conn) net.Conn
	searches int
}

// berOctets makes an OCTET STRING.
func berOctets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

// berNumber makes an INTEGER or an ENUMERATED.
func berNumber(tag ber.Tag, n int) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, tag, n, "")
}

// ldapMessage makes a message of one operation.
func ldapMessage(id int, op *ber.Packet) []byte {
	m := ber.NewSequence("")
	m.AppendChild(berNumber(ber.TagInteger, id))
	m.AppendChild(op)
	return m.Bytes()
}

// ldapOp makes an operation of the server.
func ldapOp(tag ber.Tag, children ...*ber.Packet) *ber.Packet {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	for _, child := range children {
		op.AppendChild(child)
	}
	return op
}

// ldapDone makes a result.
func ldapDone(tag ber.Tag, id, code int, text string, referrals ...string) []byte {
	op := ldapOp(tag, berNumber(ber.TagEnumerated, code), berOctets(""), berOctets(text))
	if len(referrals) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
		for _, ref := range referrals {
			list.AppendChild(berOctets(ref))
		}
		op.AppendChild(list)
	}
	return ldapMessage(id, op)
}

// searchDone is the usual end of a search.
func searchDone(id, code int) []byte {
	return ldapDone(ldap.ApplicationSearchResultDone, id, code, "")
}

// ldapEntry makes an entry of attributes like "name=value"; values of a name
// stand together.
func ldapEntry(id int, dn string, pairs ...string) []byte {
	list := ber.NewSequence("")
	var names []string
	values := map[string][]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], value)
	}
	for _, name := range names {
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, value := range values[name] {
			set.AppendChild(berOctets(value))
		}
		attr := ber.NewSequence("")
		attr.AppendChild(berOctets(name))
		attr.AppendChild(set)
		list.AppendChild(attr)
	}
	return ldapMessage(id, ldapOp(ldap.ApplicationSearchResultEntry, berOctets(dn), list))
}

// Serve handles one connection.
func (f *FakeLDAP) Serve(_ int, c net.Conn) {
	r := bufio.NewReader(c)
	for {
		p, err := ber.ReadPacket(r)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id := int(p.Children[0].Value.(int64))
		op := p.Children[1]
		var reply []byte
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			f.Log = append(f.Log, fmt.Sprintf("bind v%d %s %s", op.Children[0].Value, op.Children[1].Value, op.Children[2].Data))
			reply = ldapDone(ldap.ApplicationBindResponse, id, f.BindCode, "not with secret")
		case ldap.ApplicationExtendedRequest:
			f.Log = append(f.Log, "extended "+op.Children[0].Data.String())
			if f.StartTLS != nil {
				c.Write(ldapDone(ldap.ApplicationExtendedResponse, id, 0, ""))
				c = f.StartTLS(c)
				r = bufio.NewReader(c)
				continue
			}
			reply = ldapDone(ldap.ApplicationExtendedResponse, id, ldap.LDAPResultProtocolError, "no TLS here")
		case ldap.ApplicationSearchRequest:
			reply = f.search(id, op)
		default:
			return
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// search answers a search.
func (f *FakeLDAP) search(id int, op *ber.Packet) []byte {
	f.searches++
	base := op.Children[0].Value.(string)
	scope := op.Children[1].Value.(int64)
	filter, err := ldap.DecompileFilter(op.Children[6])
	if err != nil {
		return searchDone(id, ldap.LDAPResultProtocolError)
	}
	var wanted []string
	for _, attr := range op.Children[7].Children {
		wanted = append(wanted, attr.Value.(string))
	}
	f.Log = append(f.Log, fmt.Sprintf("search <%s> %d %s [%s] size=%d time=%d deref=%d", base, scope, filter, strings.Join(wanted, " "),
		op.Children[3].Value, op.Children[4].Value, op.Children[2].Value))
	if f.Reply != nil {
		return f.Reply(f.searches, id)
	}
	var out bytes.Buffer
	for dn, pairs := range f.Entries {
		if scope == ldap.ScopeBaseObject && dn == base || scope != ldap.ScopeBaseObject && matches(op.Children[6], pairs) {
			out.Write(ldapEntry(id, dn, pairs...))
		}
	}
	if _, known := f.Entries[base]; !known {
		return searchDone(id, ldap.LDAPResultNoSuchObject)
	}
	out.Write(searchDone(id, 0))
	return out.Bytes()
}

// matches tells whether an entry has the pair of a filter for equality.
func matches(filter *ber.Packet, pairs []string) bool {
	if filter.Tag != ldap.FilterEqualityMatch {
		return filter.Tag == ldap.FilterPresent
	}
	pair := fmt.Sprintf("%s=%s", filter.Children[0].Value, filter.Children[1].Value)
	for _, p := range pairs {
		if p == pair {
			return true
		}
	}
	return false
}

// discard is a server that never answers.
func discard(_ int, c net.Conn) { io.Copy(io.Discard, c) }
