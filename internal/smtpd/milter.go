package smtpd

import (
	"context"
	"slices"
	"strings"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/milter"
	"postroad/internal/wire"
)

// Filters are the mail filters of a service.
type Filters struct {
	// Config is nil when nothing is filtered.
	Config *milter.Config
	// List is smtpd_milters, ByClient finds another list, or DISABLE, by the
	// address of the client; each may be nil.
	List     *milter.List
	ByClient Lookup
	// Route tells where an address goes, for macros; nil leaves those out.
	Route func(ctx context.Context, sender, addr mail.Address) (mail.Route, error)
}

// noFilters is the word of smtpd_milter_maps for a client that is not filtered.
const noFilters = "DISABLE"

// milters reads the settings of the mail filters.
func (b *viewBuilder) milters() {
	set := b.srv.Settings
	if slices.Contains(set.Override, "no_milters") || strings.TrimSpace(set.Milters) == "" && len(set.MilterMaps) == 0 {
		return
	}
	f := &b.srv.Lists.Filters
	cfg, problems := milter.FromView(b.v)
	b.problems = append(b.problems, problems...)
	f.Config = cfg
	if !strings.EqualFold(strings.TrimSpace(set.Milters), noFilters) {
		var err error
		f.List, err = cfg.Parse(set.Milters)
		b.note(true, err)
	}
	if len(set.MilterMaps) == 0 {
		return
	}
	maps, err := b.tables.Maps("smtpd_milter_maps", set.MilterMaps)
	b.note(true, err)
	f.ByClient = func(ctx context.Context, key string) (string, bool, error) {
		hit, err := maps.Lookup(ctx, key)
		return hit.Value, hit.Found, err
	}
}

// filtering is where a session stands with its filters.
type filtering struct {
	// chain is nil when the client is not filtered.
	chain *milter.Chain
	// held and discarded are what filters want to be done with the message.
	held, discarded bool
	// mailed tells that the filters saw MAIL, and have to hear of its end.
	mailed bool
	// connections is how many the client has, for a macro.
	connections int
	// rejected is why access control refused the recipient at hand.
	rejected *mail.Status
	// routes remember where addresses go while their macros are asked for.
	routes map[[2]mail.Address]mail.Route
}

// beginFilters finds the filters for the client. A table that does not answer
// counts as a filter that does not.
func (s *session) beginFilters() {
	f := &s.srv.Lists.Filters
	s.filters = filtering{connections: s.filters.connections}
	if f.Config == nil {
		return
	}
	list := f.List
	if f.ByClient != nil {
		value, ok, err := f.ByClient(s.ctx, s.peer.Client.AddrString())
		switch {
		case err != nil:
			s.log.Warnf("smtpd_milter_maps: %v", err)
			list = f.Config.Unavailable("smtpd_milter_maps")
		case ok && strings.EqualFold(value, noFilters):
			return
		case ok:
			if list, err = f.Config.Parse(value); err != nil {
				s.log.Warnf("smtpd_milter_maps: %v", err)
				list = f.Config.Unavailable("smtpd_milter_maps")
			}
		}
	}
	if list != nil {
		s.filters.chain = list.Begin(s.ctx, s.log, s.macro)
	}
}

// endFilters ends the session of the filters.
func (s *session) endFilters() {
	if s.filters.chain == nil {
		return
	}
	s.abortHelo(s.peer.Helo)
	s.abortMail()
	s.filters.chain.Close()
	s.filters.chain = nil
}

// abortHelo tells the filters that a greeting before is over.
func (s *session) abortHelo(before string) {
	if s.filters.chain != nil && before != "" {
		s.filters.chain.Abort()
	}
}

// abortMail ends what the filters know of the transaction.
func (s *session) abortMail() {
	f := &s.filters
	if f.chain != nil && f.mailed {
		f.chain.Abort()
	}
	f.mailed, f.held, f.discarded, f.routes = false, false, false, nil
}

// filtered tells whether filters are to hear of a command: not when the message is
// going to be dropped.
func (s *session) filtered() bool {
	return s.filters.chain != nil && !s.filters.discarded && (s.access == nil || !s.access.Actions().Discard)
}

// object does and logs what a filter wants; it returns what the client is to hear,
// nil when the command goes on.
func (s *session) object(r *milter.Reply) *milter.Reply {
	if r == nil {
		return nil
	}
	action, said, st := "milter-reject", "", mail.Status{}
	switch r.Verdict {
	case milter.Quarantine:
		if s.filters.held || s.access != nil && s.access.Actions().Hold {
			return nil
		}
		s.filters.held = true
		action, said = "milter-hold", r.Text
		if said == "" {
			said = "milter triggers HOLD action"
		}
		r = nil
	case milter.Discard:
		if s.filters.discarded {
			return nil
		}
		s.filters.discarded = true
		action, said = "milter-discard", "milter triggers DISCARD action"
		r = nil
	case milter.Shutdown:
		r = &milter.Reply{Text: "421 4.7.0 Server closing connection"}
		st, said = r.Status(), r.Text
	default:
		st, said = r.Status(), r.Text
	}
	if r != nil {
		s.chat.seen |= classPolicy
	}
	e := &event.Decision{
		ID: s.tx.id, Action: action, State: s.where, Client: s.client(), Status: st, Said: said,
		Proto: s.peer.Proto(), Helo: s.peer.Helo, SASL: s.peer.SASL,
	}
	if s.req.HasSender {
		e.HasFrom, e.From = true, s.req.Sender.External()
	}
	if to, ok := s.filterRcpt(); ok {
		e.HasTo, e.To = true, to.External()
	}
	s.log.Emit(e)
	return r
}

// filterConnect tells the filters of the client; true when that was the greeting.
// Except for 5xx and 421 the client is greeted, and hears of it at MAIL.
func (s *session) filterConnect() bool {
	if s.filters.chain == nil {
		return false
	}
	c := &s.peer.Client
	r := s.object(s.filters.chain.Connect(milter.Client{Name: c.Name, Addr: c.Addr, Port: c.Port}))
	switch {
	case r == nil:
		return false
	case r.Permanent():
		s.reply(554, "", s.set.Hostname+" ESMTP not accepting connections")
		s.errors++
	case r.Closing():
		s.reply(421, "", s.set.Hostname+" Service unavailable - try again later")
	default:
		return false
	}
	return true
}

// filterHelo tells the filters of a greeting. done ends the command; refused tells
// that only few extensions are to be announced, as Sendmail has it.
func (s *session) filterHelo(name string) (refused, done bool) {
	if !s.filtered() {
		return false, false
	}
	r := s.object(s.filters.chain.Helo(name))
	if r == nil {
		return false, false
	}
	if r.Closing() {
		s.filterReply(r.Status())
		return false, true
	}
	return r.Permanent(), false
}

// filterMail tells the filters of the sender; true when MAIL is refused.
func (s *session) filterMail(path string, params wire.Params) bool {
	if !s.filtered() {
		return false
	}
	s.filters.mailed = true
	return s.refusedBy(s.filters.chain.Mail(arguments(path, params)...))
}

// filterRcptTo tells the filters of a recipient, which access control may have
// refused already; true when RCPT is refused now.
func (s *session) filterRcptTo(path string, params wire.Params, rejected *mail.Status) bool {
	if !s.filtered() {
		return false
	}
	s.filters.rejected = rejected
	r := s.filters.chain.Rcpt(rejected != nil, arguments(path, params)...)
	s.filters.rejected = nil
	return s.refusedBy(r)
}

// filterData tells the filters that content comes; true when it is refused. What
// they want for the message goes to cleanup.
func (s *session) filterData() bool {
	if s.filtered() && s.refusedBy(s.filters.chain.Data()) {
		return true
	}
	if f := &s.filters; f.held || f.discarded {
		s.tx.msg.Apply(access.Actions{Hold: f.held, Discard: f.discarded})
	}
	return false
}

// refusedBy answers a command that a filter refuses.
func (s *session) refusedBy(r *milter.Reply) bool {
	if r = s.object(r); r == nil {
		return false
	}
	s.filterReply(r.Status())
	return true
}

// filterReply gives the answer of a filter. Whatever it says, it is a matter of
// policy and no trouble of ours.
func (s *session) filterReply(st mail.Status) {
	seen := s.chat.seen
	s.status(st)
	s.chat.seen = seen | classPolicy
}

// filterUnknown tells the filters of an unknown command; true when one of them had
// an answer. Other answers than 4xx do not replace ours.
func (s *session) filterUnknown(line []byte) bool {
	if s.filters.chain == nil {
		return false
	}
	r := s.filters.chain.Unknown(string(line))
	if r == nil || !r.Temporary() {
		return false
	}
	s.filterReply(r.Status())
	return true
}

// filterStanding answers a command that no filter sees, when one has refused the
// client as a whole. vague makes every 4xx a 454, as Sendmail does for STARTTLS
// and AUTH.
func (s *session) filterStanding(vague bool) bool {
	if s.filters.chain == nil {
		return false
	}
	r := s.filters.chain.Standing()
	switch {
	case r == nil || !r.Permanent() && !r.Temporary():
		return false
	case vague && r.Temporary():
		s.filterReply(mail.Status{Code: 454, Enhanced: "4.3.0", Text: "Try again later"})
	default:
		s.filterReply(r.Status())
	}
	return true
}

// arguments are those of MAIL or RCPT as the client gave them.
func arguments(path string, params wire.Params) []string {
	args := []string{path}
	for {
		param, _, _, _, ok := params.Next()
		if !ok {
			return args
		}
		args = append(args, param)
	}
}
