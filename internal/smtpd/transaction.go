package smtpd

import (
	"context"
	"strconv"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/wire"
)

// transaction is a mail transaction (RFC 5321 3.3). The zero value is none.
type transaction struct {
	open   bool
	sender mail.Address
	params SenderParams
	// local tells that what is missing in addresses is ours to add.
	local bool
	// line is the MAIL command; proxy is msg when a filter stands before the queue.
	line  string
	proxy *proxyMail
	msg   Message
	id    mail.QueueID
	// rcpts counts accepted recipients, the first of which is kept; overshoot
	// counts those beyond the limit.
	rcpts, overshoot int
	first            mail.Address
	// applied is how much of the actions cleanup has had.
	applied access.Actions
	bdat    bdatState
	chunk   wire.ChunkReader
	// bytes is the size of the content so far.
	bytes int64
}

// abort drops the transaction.
func (s *session) abort() {
	if s.tx.msg != nil {
		s.tx.msg.Abort()
	}
	s.clear()
}

// clear forgets the transaction, whose message has been finished or dropped.
func (s *session) clear() {
	s.tx = transaction{}
	s.abortMail()
	s.turn()
	s.req.QueueID, s.req.Sender, s.req.Recipient = "", "", ""
	s.req.HasSender = false
	s.req.RcptCount, s.req.Size, s.req.ETRNDomain = 0, 0, ""
	s.req.Instance = access.Instance{}
	if s.peer.SASL != nil && s.peer.SASL.Sender != "" {
		sasl := *s.peer.SASL
		sasl.Sender = ""
		s.peer.SASL = &sasl
	}
	if s.peer.Forwarded != nil {
		s.peer.Forwarded = nil
	}
	if s.access != nil {
		s.access.ResetTransaction()
	}
}

// openMessage gives the transaction its queue id.
func (s *session) openMessage() bool {
	if s.tx.msg != nil {
		return true
	}
	if s.srv.proxy != nil {
		return s.openProxy(s.tx.local)
	}
	facts := s.facts(s.tx.local)
	msg, err := s.srv.Cleanup.Begin(s.ctx, &MessageOptions{Session: &s.peer, Facts: facts, LocalRewrite: s.tx.local, Filters: s.filters.chain})
	if err != nil {
		s.log.Warnf("cannot begin a message: %v", err)
		s.reply(451, "4.3.0", "Error: queue file write error")
		return false
	}
	s.tx.msg, s.tx.id = msg, msg.ID()
	s.req.QueueID = s.tx.id
	msg.SetSender(s.tx.sender, s.tx.params)
	s.logAccepted(s.tx.id)
	return true
}

// logAccepted says whose message a transaction is about.
func (s *session) logAccepted(id mail.QueueID) {
	e := &event.Accepted{ID: id, Client: s.client(), SASL: s.peer.SASL}
	if f := s.peer.Forwarded; f != nil {
		e.OrigID = f.Ident
		if f.Name != "" || f.Addr != "" {
			e.OrigClient = orUnknown(f.Name) + "[" + orUnknown(f.Addr) + "]"
		}
	}
	s.log.Emit(e)
}

// rewritesLocally tells whether the client's mail is completed as local mail
// (local_header_rewrite_clients). When a table does not answer, the client has been
// told so and ok is false.
func (s *session) rewritesLocally() (local, ok bool) {
	if s.srv.Access == nil {
		return false, true
	}
	// A checker of its own: what the lists have found so far stays.
	where, err := s.srv.Access.Begin().RewriteContext(s.ctx, &s.req)
	if err != nil {
		// The table has said why.
		st := mail.Status{Code: 451, Enhanced: "4.3.0", Text: "Temporary lookup error"}
		s.logReject("MAIL", st)
		s.status(st)
		return false, false
	}
	return where == rewrite.Local, true
}

// facts are what outlives the session; what XFORWARD said goes before what the
// connection says.
func (s *session) facts(local bool) mail.ClientFacts {
	c := &s.peer.Client
	f := mail.ClientFacts{
		Name: c.Name, Addr: c.AddrString(), Port: strconv.Itoa(int(c.Port)), ReverseName: c.ReverseName,
		Helo: s.peer.Helo, Proto: s.peer.Proto(), RewriteContext: "remote", UID: -1,
	}
	if local {
		f.RewriteContext = "local"
	}
	if a := s.peer.SASL; a != nil {
		f.SASLMethod, f.SASLUser, f.SASLSender = a.Method, a.Username, a.Sender
	}
	if x := s.peer.Forwarded; x != nil {
		for _, p := range []struct {
			to   *string
			from string
		}{{&f.Name, x.Name}, {&f.Addr, x.Addr}, {&f.Port, x.Port}, {&f.Helo, x.Helo}, {&f.Proto, x.Proto}, {&f.Ident, x.Ident}} {
			if p.from != "" {
				*p.to = p.from
			}
		}
	}
	return f
}

// apply hands to cleanup what restrictions have asked for since the last time.
func (s *session) apply() {
	if s.access == nil || s.tx.msg == nil {
		return
	}
	all := s.access.Actions()
	news := all
	news.BCC = all.BCC[min(len(s.tx.applied.BCC), len(all.BCC)):]
	news.Prepend = all.Prepend[min(len(s.tx.applied.Prepend), len(all.Prepend)):]
	s.tx.applied = all
	if news.Hold || news.Discard || news.Filter != "" || news.Redirect != "" || len(news.BCC) > 0 || len(news.Prepend) > 0 {
		s.tx.msg.Apply(news)
	}
}

// check asks a stage of access control. It replies and returns false when the
// command is refused.
func (s *session) check(stage string, f func(context.Context, *access.Request) mail.Verdict) bool {
	s.stage(stage)
	v := f(s.ctx, &s.req)
	switch v.Action {
	case mail.Reject, mail.Disconnect:
	case mail.Hangup:
		s.flags.hangup, s.flags.failed = true, true
		return false
	default:
		return true
	}
	s.logReject(stage, v.Status)
	s.chat.refused(&v)
	s.status(v.Status)
	s.refused = v.Status
	return false
}

// logReject logs a refusal.
func (s *session) logReject(stage string, st mail.Status) {
	if s.set.SoftBounce && st.Code/100 == 5 {
		st.Code -= 100
		if st.Enhanced != "" {
			st.Enhanced = "4" + st.Enhanced[1:]
		}
	}
	e := &event.Decision{
		ID: s.tx.id, Action: "reject", State: stage, Client: s.client(), Status: st,
		Proto: s.peer.Proto(), Helo: s.peer.Helo, SASL: s.peer.SASL,
	}
	if s.req.HasSender {
		e.HasFrom, e.From = true, s.req.Sender.External()
	}
	if s.req.Recipient != "" {
		e.HasTo, e.To = true, s.req.Recipient.External()
	}
	s.log.Emit(e)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
