package cleanup

import (
	"context"
	"errors"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/milter"
	"postroad/internal/queue"
	"postroad/internal/rewrite"
)

// Options say how a message came in and what is done to it.
type Options struct {
	Origin mail.Origin
	// Session is nil unless the message comes by SMTP.
	Session *mail.Session
	// Context completes addresses in the header; Remote with an empty
	// remote_header_rewrite_domain leaves the header alone.
	Context rewrite.Context
	// Facts outlive the session.
	Facts mail.ClientFacts
	// NoAddressMappings, NoHeaderBodyChecks and NoMilters are the words of
	// receive_override_options.
	NoAddressMappings, NoHeaderBodyChecks, NoMilters bool
	// FullName is the name of a local sender.
	FullName string
	// Filter is content_filter of the service that received the message.
	Filter string
	// Arrived is when the transaction began; zero means now.
	Arrived time.Time
	// Probe and Trace are those of the envelope.
	Probe, Trace bool
	// Verify marks a probe of verify(8), see the envelope.
	Verify bool
	// VERP is the delimiter pair of sendmail -XV.
	VERP string
	// Filters are those of the SMTP session, nil for none. Other mail is shown to
	// non_smtpd_milters.
	Filters *milter.Chain
	// Class names internal mail that internal_mail_filter_classes may have
	// inspected: "bounce" or "notify".
	Class string
}

// SenderParams are the parameters of MAIL.
type SenderParams struct {
	EnvID    string
	Ret      mail.Ret
	SMTPUTF8 bool
	// Body8Bit is BODY=8BITMIME.
	Body8Bit bool
	// VERP is the delimiter pair of XVERP.
	VERP string
	// RequireTLS is REQUIRETLS.
	RequireTLS bool
}

// Actions are what access control decided about the whole message.
type Actions struct {
	Hold, Discard bool
	// Filter is "transport:nexthop"; Redirect replaces all recipients.
	Filter   string
	Redirect mail.Address
	// Prepend are header lines, BCC further recipients.
	Prepend []string
	BCC     []mail.Address
}

// Message is one message on its way into the queue. One goroutine uses it:
// SetSender, AddRecipient, then Header and Write, then Finish or Abort.
type Message struct {
	s      *Service
	ctx    context.Context
	opt    Options
	w      Writer
	env    mail.Envelope
	faults fault
	// reason is what a check or an expansion says about the fault.
	reason string
	// discard, filtered and mapped are switches: drop the message, apply the
	// checks, apply the address maps; bcc allows automatic copies.
	discard, filtered, mapped, bcc bool
	// context and rewriting say how header addresses are completed.
	context   rewrite.Context
	rewriting bool

	// answered tells that a probe has had its answer.
	answered  bool
	hasSender bool
	lastRcpt  mail.Address
	hasRcpt   bool
	seen      seenFilter
	copies    []mail.Address
	// expanded are the recipients whose expansion is to be reported.
	expanded []mail.Recipient
	// autoUTF8 finds out by itself whether SMTPUTF8 is needed.
	autoUTF8 bool

	head    header
	text    scanner
	mime    walker
	filters filtering
	log     lateLog
}

// Begin starts a message. The error is one of the queue.
func (s *Service) Begin(ctx context.Context, opt Options) (*Message, error) {
	w, err := s.deps.Spool.Begin()
	if err != nil {
		return nil, err
	}
	internal := opt.Origin == mail.OriginInternal
	inspected := internal && s.filters.classes[opt.Class]
	m := &Message{
		s: s, ctx: ctx, opt: opt, w: w,
		filtered:  !opt.NoHeaderBodyChecks && (!internal || inspected),
		mapped:    !opt.NoAddressMappings,
		bcc:       !opt.NoAddressMappings && !internal && !opt.Probe,
		context:   opt.Context,
		rewriting: opt.Context == rewrite.Local || s.set.RemoteDomain != "",
		autoUTF8:  opt.Origin == mail.OriginLocal && s.autoUTF8,
	}
	m.head.began, m.head.limit = s.deps.Now(), s.set.HeaderSize
	m.beginFilters(inspected)
	m.seen.limit = s.set.DupLimit
	m.text.init(m)
	m.mime.init(s, m.filtered)
	m.env = mail.Envelope{
		ID: w.ID(), Origin: opt.Origin, Client: opt.Facts, Arrived: opt.Arrived,
		Probe: opt.Probe || opt.Verify, Trace: opt.Trace, Verify: opt.Verify, VERP: opt.VERP, FullName: opt.FullName,
	}
	if m.env.Arrived.IsZero() {
		m.env.Arrived = m.head.began
	}
	m.setFilter(opt.Filter)
	// The order of what checks say matters more than that of two daemons.
	m.log.open = opt.Origin != mail.OriginSMTP || m.filtered && s.checks()
	return m, nil
}

// ID is the queue id.
func (m *Message) ID() mail.QueueID { return m.w.ID() }

// Envelope is the envelope as it stands; the caller does not change it.
func (m *Message) Envelope() *mail.Envelope { return &m.env }

// fail notes a fault with a reason; the first reason stays.
func (m *Message) fail(f fault, reason string) {
	m.faults |= f
	if m.reason == "" {
		m.reason = reason
	}
}

// deaf tells that nothing more needs to be done about the content. A local
// message that goes back to its sender is looked at to its end.
func (m *Message) deaf() bool {
	faults := m.faults
	if m.opt.Origin == mail.OriginLocal {
		faults &= faultDefer | faultBad | faultWrite | faultFull
	}
	return faults != 0 || m.discard
}

// warnf writes a warning about this message.
func (m *Message) warnf(format string, args ...any) {
	m.s.deps.Log.Warnf("%s: "+format, append([]any{m.ID()}, args...)...)
}

// setFilter takes "transport:nexthop".
func (m *Message) setFilter(filter string) {
	if filter == "" {
		return
	}
	transport, nexthop, _ := strings.Cut(filter, ":")
	m.env.FilterTransport, m.env.FilterNexthop = mail.Transport(transport), mail.Nexthop(nexthop)
}

// Apply takes what access control decided. It comes before the content.
func (m *Message) Apply(a Actions) {
	m.env.Hold = m.env.Hold || a.Hold
	m.discard = m.discard || a.Discard
	m.setFilter(a.Filter)
	if a.Redirect != "" {
		m.env.Redirect = m.canonicalRecipient(a.Redirect)
	}
	m.copies = append(m.copies, a.BCC...)
	for _, line := range a.Prepend {
		m.Header(line)
	}
}

// Header puts a header line before the content. Lines of a folded header are
// separated by LF or CRLF.
func (m *Message) Header(line string) {
	line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\r\n", "\n")
	for part := range strings.SplitSeq(line, "\n") {
		m.text.header([]byte(part))
	}
}

// Write takes content with CRLF line ends. It never fails: what goes wrong is
// the answer of Finish.
func (m *Message) Write(p []byte) (int, error) {
	if !m.deaf() {
		m.text.write(p)
	}
	if m.text.size += int64(len(p)); m.text.size > lateBytes {
		m.speak()
	}
	if limit := m.s.set.MessageSize; limit > 0 && m.text.size > limit && m.faults&faultSize == 0 {
		m.fail(faultSize, "")
	}
	return len(p), nil
}

// Failed tells that the message will be refused, whatever follows.
func (m *Message) Failed() bool { return m.faults != 0 }

// put writes to the queue.
func (m *Message) put(p []byte) {
	if m.faults != 0 || m.discard || len(p) == 0 {
		return
	}
	if _, err := m.w.Write(p); err != nil {
		m.storageFault(err)
	}
}

// storageFault notes that the queue did not take something.
func (m *Message) storageFault(err error) {
	if errors.Is(err, queue.ErrFull) {
		m.fail(faultFull, "")
	} else {
		m.fail(faultWrite, "")
	}
	m.warnf("write queue file: %v", err)
}

// Abort drops the message: the client went away or sent RSET.
func (m *Message) Abort() {
	m.endFilters()
	if m.w != nil {
		m.w.Abort()
	}
}

// Canceled is Abort with the line that Postfix logs when it had begun to write.
func (m *Message) Canceled() {
	m.Abort()
	m.speak()
	m.emit(event.Removed{ID: m.ID(), Note: "canceled"})
}

// Finish ends the message and returns what the client hears.
func (m *Message) Finish(ctx context.Context) mail.Status {
	m.ctx = ctx
	defer m.endFilters()
	m.speak()
	if !m.deaf() {
		m.text.finish()
	}
	if m.mime.broken != "" && m.faults == 0 {
		m.rejectText(m.mime.broken)
	}
	m.addCopies()
	if len(m.env.Recipients) == 0 && m.faults == 0 && !m.discard && !m.answered {
		m.fail(faultRecipients, "")
	}
	m.inspect()
	if m.faults != 0 {
		m.drop()
		return m.answer()
	}
	if m.discard {
		m.w.Abort()
		m.emit(event.Removed{ID: m.ID(), Note: "discarded"})
		return m.answer()
	}
	m.env.EightBit = m.env.EightBit || m.s.set.Detect8Bit && m.head.multipart && m.text.eightBit
	m.env.Hops = m.head.hops
	m.env.MessageID = m.head.messageID
	if err := m.w.Commit(ctx, &m.env); err != nil {
		m.storageFault(err)
		m.drop()
	} else if len(m.expanded) > 0 {
		m.s.deps.Expanded(ctx, &m.env, memory(m.head.copy), m.expanded)
	}
	return m.answer()
}

// drop drops a message that is refused. One that goes back to a local sender ends
// later.
func (m *Message) drop() {
	m.w.Abort()
	if m.opt.Origin != mail.OriginLocal || m.answer().Temporary() {
		m.emit(event.Removed{ID: m.ID(), Note: "canceled"})
	}
}

// addCopies adds the recipients that checks and always_bcc ask for.
func (m *Message) addCopies() {
	if m.faults != 0 || len(m.env.Recipients) == 0 {
		return
	}
	for _, addr := range m.copies {
		m.addCopy(addr)
	}
	if m.bcc && m.s.set.AlwaysBcc != "" {
		m.addCopy(mail.Address(m.s.set.AlwaysBcc))
	}
}
