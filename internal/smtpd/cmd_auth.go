package smtpd

import (
	"encoding/base64"
	"errors"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sasl"
)

// cmdAuth authenticates the client (RFC 4954).
func (s *session) cmdAuth(args string) {
	mech, initial, hasInitial := strings.Cut(args, " ")
	mech = strings.ToUpper(mech)
	switch {
	case s.srv.SASL == nil || s.flags.authExempt || (s.set.AuthOnlyTLS && s.peer.TLS == nil):
		s.reply(503, "5.5.1", "Error: authentication not enabled")
		return
	case s.peer.Helo == "" || !s.peer.ESMTP:
		s.reply(503, "5.5.1", "Error: send HELO/EHLO first")
		return
	case s.tx.open:
		s.reply(503, "5.5.1", "Error: MAIL transaction in progress")
		return
	case s.peer.SASL != nil:
		s.reply(503, "5.5.1", "Error: already authenticated")
		return
	case mech == "" || strings.Contains(initial, " "):
		s.reply(501, "5.5.4", "Syntax: AUTH mechanism")
		return
	}
	if over, why := s.overRate("auth"); over {
		s.reply(450, "4.7.1", why)
		return
	}
	req := &sasl.Request{Mechanism: mech, HasInitial: hasInitial, Session: &s.peer}
	if hasInitial && initial != "=" {
		b, err := base64.StdEncoding.DecodeString(initial)
		if err != nil {
			s.authFailed(mech, "", &sasl.AuthError{Reason: "Invalid base64 data in initial response"})
			return
		}
		req.Initial = b
	}
	x, err := s.srv.SASL.Begin(s.ctx, req)
	if err != nil {
		s.authFailed(mech, "", err)
		return
	}
	defer x.Close()
	s.authLoop(mech, x)
}

// authLoop exchanges challenges and responses until the end.
func (s *session) authLoop(mech string, x sasl.Exchange) {
	var response []byte
	for {
		challenge, done, err := x.Next(s.ctx, response)
		if err != nil {
			s.authFailed(mech, x.Username(), err)
			return
		}
		if done {
			s.peer.SASL = &mail.SASL{Method: mech, Username: x.Username()}
			s.reply(235, "2.7.0", "Authentication successful")
			return
		}
		s.w.WriteString("334 " + base64.StdEncoding.EncodeToString(challenge) + "\r\n")
		line, err := s.readLine(s.set.AuthLimit)
		if err != nil {
			if !s.readFailed(err) {
				return
			}
			return
		}
		// RFC 4954 4: a lone "*" cancels.
		if string(line) == "*" {
			s.reply(501, "5.7.0", "Authentication aborted")
			return
		}
		response, err = base64.StdEncoding.DecodeString(string(line))
		if err != nil {
			s.authFailed(mech, x.Username(), &sasl.AuthError{Reason: "Invalid base64 data in continued response"})
			return
		}
	}
}

// authFailed answers and logs a failed authentication.
func (s *session) authFailed(mech, user string, err error) {
	e := &event.Login{Client: s.client(), Mechanism: mech, Username: user, Failed: true, Reason: err.Error()}
	switch {
	case errors.Is(err, sasl.ErrEncryptionRequired):
		s.reply(504, "5.5.4", "Encryption required for requested authentication mechanism")
		return
	case errors.Is(err, sasl.ErrMechanism):
		e.Reason = "Invalid authentication mechanism"
		s.reply(535, "5.7.8", "Error: authentication failed: Invalid authentication mechanism")
	case errors.Is(err, sasl.ErrTemporary):
		e.Temporary = true
		s.reply(454, "4.7.0", "Temporary authentication failure: "+err.Error())
	default:
		s.reply(535, "5.7.8", "Error: authentication failed: "+err.Error())
	}
	s.log.Emit(e)
}
