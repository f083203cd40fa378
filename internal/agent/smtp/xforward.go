package smtp

import (
	"postroad/internal/mail"

	smtpwire "postroad/internal/wire"
)

// xforward returns the XFORWARD commands that tell the server who our client
// was (XFORWARD_README); empty when it does not want to know.
func (a *attempt) xforward(s *session) (first, second string) {
	env := a.d.Envelope
	cl := &env.Client
	ident := cl.Ident
	if ident == "" {
		ident = string(env.ID)
	}
	source := "LOCAL"
	if cl.RewriteContext == "remote" {
		source = "REMOTE"
	}
	first = xforwardCommand(s.feat, []xattr{{featXName, "NAME", cl.Name}, {featXAddr, "ADDR", cl.Addr}, {featXPort, "PORT", cl.Port}})
	second = xforwardCommand(s.feat, []xattr{{featXProto, "PROTO", cl.Proto}, {featXHelo, "HELO", cl.Helo},
		{featXIdent, "IDENT", ident}, {featXSource, "SOURCE", source}})
	return first, second
}

type xattr struct {
	feat        features
	name, value string
}

func xforwardCommand(offered features, attrs []xattr) string {
	out := []byte("XFORWARD")
	n := len(out)
	for _, x := range attrs {
		if offered&x.feat == 0 {
			continue
		}
		out = append(append(append(out, ' '), x.name...), '=')
		if x.value == "" || x.value == "unknown" {
			out = append(out, "[UNAVAILABLE]"...)
			continue
		}
		out = append(out, smtpwire.EncodeXtext(x.value)...)
	}
	if len(out) == n {
		return ""
	}
	return string(out)
}

// needsUTF8 tells whether a message for which the sender asked for SMTPUTF8
// has something that needs it: an address or a header (RFC 6531 3.5).
func (a *attempt) needsUTF8() bool {
	env := a.d.Envelope
	if !ascii(string(env.Sender)) {
		return true
	}
	for i := range a.d.Recipients {
		if a.state[i] == rcptOpen && !ascii(string(a.d.Recipients[i].Address)) {
			return true
		}
	}
	return headerHas8Bit(a.d.Content)
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// headerHas8Bit reads the header of the message; trouble counts as yes.
func headerHas8Bit(c mail.Content) bool {
	r, err := c.Open()
	if err != nil {
		return true
	}
	defer r.Close()
	buf := make([]byte, 4096)
	newline := false
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			switch {
			case b >= 0x80:
				return true
			case b == '\n' && newline:
				return false
			case b == '\n':
				newline = true
			case b != '\r':
				newline = false
			}
		}
		if err != nil {
			return false
		}
	}
}
