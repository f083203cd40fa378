package smtpd

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sasl"
	"postroad/internal/wire"
)

// cmdAuth authenticates the client (RFC 4954).
func (s *session) cmdAuth(args string) {
	if over, why := s.overRate(rateAuth); over {
		s.reply(450, "4.7.1", why)
		return
	}
	fields := strings.Fields(args)
	switch {
	case s.set.HeloRequired && s.peer.Helo == "":
		s.reply(503, "5.5.1", "Error: send HELO/EHLO first")
		return
	case !s.authEnabled() || s.masked(ehloAuth):
		s.reply(503, "5.5.1", "Error: authentication not enabled")
		return
	case s.tx.open:
		s.reply(503, "5.5.1", "Error: MAIL transaction in progress")
		return
	case s.filterStanding(true):
		return
	case s.peer.SASL != nil:
		s.reply(503, "5.5.1", "Error: already authenticated")
		return
	case len(fields) < 1 || len(fields) > 2:
		s.reply(501, "5.5.4", "Syntax: AUTH mechanism")
		return
	}
	mech := fields[0]
	req := &sasl.Request{Mechanism: mech, Session: &s.peer}
	if len(fields) == 2 {
		var err error
		if req.Initial, err = decodeInitial(fields[1]); err != nil {
			if !slices.ContainsFunc(s.mechanisms(), func(m string) bool { return strings.EqualFold(m, mech) }) {
				err = sasl.ErrMechanism
			}
			s.authFailed(mech, "", err)
			return
		}
		req.HasInitial = true
	}
	x, err := s.beginAuth(req)
	if err != nil {
		s.authFailed(mech, "", err)
		return
	}
	defer x.Close()
	s.authLoop(mech, x)
}

// beginAuth begins an exchange, under the limit of failures per account.
func (s *session) beginAuth(req *sasl.Request) (sasl.Exchange, error) {
	var throttle *sasl.Throttle
	if s.srv.Rates != nil {
		throttle = s.srv.Rates.logins
	}
	return throttle.Begin(s.ctx, s.srv.SASL, req, sasl.Limit{Count: s.set.AuthFailures, Window: s.set.AuthWindow})
}

// decodeInitial decodes an initial response; "=" is an empty one (RFC 4954 4).
func decodeInitial(text string) ([]byte, error) {
	if text == "=" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, &sasl.AuthError{Reason: "Invalid base64 data in initial response"}
	}
	return b, nil
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
			s.log.Emit(&event.Login{Client: s.client(), Mechanism: mech, Username: x.Username()})
			s.reply(235, "2.7.0", "Authentication successful")
			return
		}
		s.reply(334, "", base64.StdEncoding.EncodeToString(challenge))
		line, err := s.readLine(s.set.AuthLimit)
		switch {
		case errors.Is(err, wire.ErrLineTooLong):
			s.reply(500, "5.5.6", "SASL response limit exceeded") // RFC 4954 4
			return
		case errors.Is(err, wire.ErrNoResync): // there is no end of the line to go on from
			s.reply(500, "5.5.6", "SASL response limit exceeded")
			s.flags.hangup = true
			return
		case err != nil:
			s.readFailed(err)
			return
		case string(line) == "*": // RFC 4954 4: the client cancels
			s.log.Warnf("%s: SASL %s authentication aborted", s.client(), mech)
			s.reply(501, "5.7.0", "Authentication aborted")
			return
		}
		if response, err = base64.StdEncoding.DecodeString(string(line)); err != nil {
			s.authFailed(mech, x.Username(), &sasl.AuthError{Reason: "Invalid base64 data in continued response"})
			return
		}
	}
}

// authFailed answers and logs a failed authentication.
func (s *session) authFailed(mech, user string, err error) {
	var reason string
	var details []string
	var refused *sasl.AuthError
	var later *sasl.TemporaryError
	switch {
	case errors.As(err, &later):
		reason, details = later.Reason, later.Details
		if later.Cause != nil {
			s.log.Warnf("%v", later.Cause)
		}
	case errors.As(err, &refused):
		reason, details = refused.Reason, refused.Details
	case errors.Is(err, sasl.ErrMechanism):
		reason = "Invalid authentication mechanism: '" + mech + "'"
	}
	for _, d := range details {
		s.log.Warnf("SASL authentication failure: %s", d)
	}
	if reason == "" {
		reason = "(reason unavailable)"
	}
	// A name is kept for attempts that do not get as far as one.
	if user != "" || refused != nil && refused.Decided {
		s.login = user
	}
	s.log.Emit(&event.Login{
		Client: s.client(), Mechanism: mech, Username: s.login, Reason: reason,
		Failed: true, Temporary: later != nil,
		Throttled: later != nil && later.Throttled, Unknown: errors.Is(err, sasl.ErrMechanism),
	})
	if later != nil {
		s.reply(454, "4.7.0", "Temporary authentication failure: "+reason)
		return
	}
	s.reply(535, "5.7.8", "Error: authentication failed: "+reason)
}
