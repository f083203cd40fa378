package smtp

import (
	"context"
	"strconv"
	"time"

	"postroad/internal/mail"
	smtpwire "postroad/internal/wire"
)

// stage is a command of a transaction, in the order in which they are sent.
type stage uint8

const (
	stReset stage = iota
	stXForward1
	stXForward2
	stMail
	stRcpt
	stData
	stEnd
)

// maxBatch bounds the commands whose replies are outstanding: more could fill
// the buffers of both sides and lock them up (RFC 2920 3.1).
const maxBatch = 4096

// xfer is one transaction of a session.
type xfer struct {
	a *attempt
	s *session
	// send and recv are the next command to send and the one whose reply is
	// next; sendRcpt and recvRcpt count in a.todo.
	send, recv         stage
	sendRcpt, recvRcpt int
	xf1, xf2           string // XFORWARD commands, empty when not needed
	utf8               bool
	// heard tells that the server has answered something in this transaction.
	heard        bool
	mailRejected bool
	// ctx ends with the attempt; sender and rcpts are the addresses as the server
	// hears them, when the generic maps change some.
	ctx      context.Context
	sender   mail.Address
	rcpts    []mail.Address
	accepted int
	dataOK   bool
}

// transact delivers to the open recipients in one transaction. dead tells that
// a connection from the cache was gone before it said anything; then nothing
// has happened.
func (a *attempt) transact(ctx context.Context, s *session) (dead bool) {
	if s.uses++; s.uses > 1 {
		// A reset shows whether the connection still works.
		s.dirty = true
	}
	if !a.fits(s) {
		return false
	}
	x := &xfer{a: a, s: s, ctx: ctx, sender: a.d.Envelope.Sender}
	a.todo = a.todo[:0]
	for i, st := range a.state {
		if st == rcptOpen {
			a.todo = append(a.todo, i)
		}
	}
	if err := x.generic(); err != nil {
		a.d.Logger.Warnf("%s: %v", a.d.Envelope.ID, err)
		a.bulkFail(s, newFailure("4.3.0", "address mapping is not available"), failFinal)
		return false
	}
	if a.c.Settings.SendXForward {
		x.xf1, x.xf2 = a.xforward(s)
	}
	x.utf8 = s.feat&featUTF8 != 0 && a.d.Envelope.SMTPUTF8
	a.c.takeBuf(s)
	defer a.c.giveBuf(s)
	x.send = x.skip(stReset)
	x.recv = x.send
	for x.recv != stEnd {
		x.fill()
		if err := s.flush(a.c.Settings.MailTimeout); err != nil {
			return x.fail(ctx, err, x.recv)
		}
		if dead, ok := x.replies(ctx); !ok {
			return dead
		}
		// All replies are in: is there a reason to go on?
		if x.mailRejected && x.send <= stData || x.send == stData && x.accepted == 0 {
			s.dirty = true
			return false
		}
	}
	switch {
	case a.probe():
		// RFC 5321 4.1.1.5; with DATA accepted there is no way back.
		s.dirty = true
		s.broken = s.broken || x.dataOK
	case !x.dataOK:
		s.dirty = true
	default:
		x.content(ctx)
	}
	return false
}

// fits refuses what this server cannot take, before anything is sent.
func (a *attempt) fits(s *session) bool {
	size := a.d.Content.Size()
	switch {
	case s.size > 0 && s.size < size:
		a.bulkFail(s, newFailure("5.3.4", "message size "+strconv.FormatInt(size, 10)+" exceeds size limit "+
			strconv.FormatInt(s.size, 10)+" of server "+s.name), 0)
		return false
	case s.feat&featUTF8 == 0 && a.d.Envelope.SMTPUTF8 && a.needsUTF8():
		// The log says that TLS was not decided about: another server might have
		// been used.
		a.tlsText = s.pol.asked.String() + "?"
		if s.pol.require != requireOff {
			a.requireText = "/requiretls?"
		}
		a.bulkFail(s, newFailure("5.6.7", "message requires SMTPUTF8, but no server was found that supports SMTPUTF8."+
			" The last attempted server was "+s.name), failNextServer)
		return false
	}
	return true
}

// skip returns st or the first stage after it that this transaction has.
func (x *xfer) skip(st stage) stage {
	for ; st < stEnd; st++ {
		switch {
		case st == stReset && !x.s.dirty, st == stXForward1 && x.xf1 == "", st == stXForward2 && x.xf2 == "":
			continue
		case st == stData && x.a.probe() && x.a.c.Settings.AddressVerifyTarget != "data":
			continue
		}
		break
	}
	return st
}

// fill collects the commands that may be sent now: one, or with PIPELINING
// (RFC 2920) as many as fit.
func (x *xfer) fill() {
	for x.send != stEnd {
		x.append()
		if x.send == stRcpt && x.sendRcpt+1 < len(x.a.todo) {
			x.sendRcpt++
		} else {
			x.send = x.skip(x.send + 1)
		}
		if x.s.feat&featPipelining == 0 || len(x.s.out) >= maxBatch {
			return
		}
	}
}

// append adds the command of the current stage to the write buffer.
func (x *xfer) append() {
	s := x.s
	start := len(s.out)
	switch x.send {
	case stReset:
		s.out = append(s.out, "RSET"...)
	case stXForward1:
		s.out = append(s.out, x.xf1...)
	case stXForward2:
		s.out = append(s.out, x.xf2...)
	case stMail:
		x.appendMail()
	case stRcpt:
		r := &x.a.d.Recipients[x.a.todo[x.sendRcpt]]
		to := r.Address
		if x.rcpts != nil {
			to = x.rcpts[x.sendRcpt]
		}
		x.appendRcpt(r, to)
	case stData:
		s.out = append(s.out, "DATA"...)
	}
	s.out = append(s.out, '\r', '\n')
	s.say(s.out[start:])
}

// appendMail adds MAIL FROM with the parameters that the server knows.
func (x *xfer) appendMail() {
	s, env := x.s, x.a.d.Envelope
	out := append(s.out, "MAIL FROM:<"...)
	out = append(append(out, x.address(x.sender)...), '>')
	// RFC 1870 5; the size is not known when the content may have to be converted.
	if s.feat&featSize != 0 && (s.feat&feat8Bit != 0 || x.a.c.Common.DisableMIMEConversion) {
		out = strconv.AppendInt(append(out, " SIZE="...), x.a.d.Content.Size(), 10)
	}
	if s.feat&feat8Bit != 0 && env.EightBit { // RFC 6152 2
		out = append(out, " BODY=8BITMIME"...)
	}
	if s.feat&featDSN != 0 { // RFC 3461 4.3, 4.4
		if env.EnvID != "" {
			out = append(append(out, " ENVID="...), env.EnvID...)
		}
		switch env.Ret {
		case mail.RetFull:
			out = append(out, " RET=FULL"...)
		case mail.RetHeaders:
			out = append(out, " RET=HDRS"...)
		}
	}
	if x.utf8 { // RFC 6531 3.4
		out = append(out, " SMTPUTF8"...)
	}
	if s.pol.ask { // RFC 8689 2
		out = append(out, " REQUIRETLS"...)
	}
	if x.a.c.Settings.SendDummyMailAuth && s.feat&featAuth != 0 { // RFC 4954 5
		out = append(out, " AUTH=<>"...)
	}
	s.out = out
}

// generic applies the generic maps to the envelope.
func (x *xfer) generic() (err error) {
	rewrite := x.a.c.Outgoing.Generic
	if rewrite == nil {
		return nil
	}
	if x.sender != "" {
		if x.sender, err = rewrite(x.ctx, x.sender); err != nil {
			return err
		}
	}
	x.rcpts = make([]mail.Address, len(x.a.todo))
	for i, n := range x.a.todo {
		if x.rcpts[i], err = rewrite(x.ctx, x.a.d.Recipients[n].Address); err != nil {
			return err
		}
	}
	return nil
}

// appendRcpt adds RCPT TO for a recipient whom the server knows as to.
func (x *xfer) appendRcpt(r *mail.Recipient, to mail.Address) {
	s := x.s
	out := append(s.out, "RCPT TO:<"...)
	out = append(append(out, x.address(to)...), '>')
	if s.feat&featDSN != 0 { // RFC 3461 4.1, 4.2
		switch {
		case r.ORCPT != "":
			out = append(append(out, " ORCPT="...), r.ORCPT...)
		case r.Original != "":
			out = append(append(out, " ORCPT=rfc822;"...), smtpwire.EncodeXtext(r.Original.External())...)
		}
		out = appendNotify(out, r.Notify)
	}
	s.out = out
}

// address gives an address as it goes on the wire. Whatever the queue holds,
// no byte of it can end the command.
func (x *xfer) address(a mail.Address) string {
	text := string(a)
	if x.a.c.Settings.QuoteEnvelope {
		text = a.External()
	}
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] == 0x7f {
			return oneLine(text)
		}
	}
	return text
}

func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

func appendNotify(out []byte, n mail.Notify) []byte {
	if n == 0 {
		return out
	}
	out = append(out, " NOTIFY="...)
	if n&mail.NotifyNever != 0 {
		return append(out, "NEVER"...)
	}
	start := len(out)
	for _, k := range [...]struct {
		bit  mail.Notify
		word string
	}{{mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}} {
		if n&k.bit == 0 {
			continue
		}
		if len(out) > start {
			out = append(out, ',')
		}
		out = append(out, k.word...)
	}
	return out
}

// replies reads the replies to all commands sent. ok is false when the session
// has ended; dead as for transact.
func (x *xfer) replies(ctx context.Context) (dead, ok bool) {
	for x.recv != x.send || x.recv == stRcpt && x.recvRcpt != x.sendRcpt {
		at := x.recv
		r, err := x.s.read(x.timeout(at), nil)
		if err != nil {
			return x.fail(ctx, err, at), false
		}
		// RFC 5321 3.8: the server is closing. On a connection that lay idle
		// nothing is lost.
		if r.code == 421 && !x.heard && x.s.uses > 1 {
			x.s.broken = true
			return true, false
		}
		x.heard = true
		x.reply(at, &r)
		if at == stRcpt && x.recvRcpt+1 < len(x.a.todo) {
			x.recvRcpt++
		} else {
			x.recv = x.skip(at + 1)
		}
	}
	return false, true
}

// timeout is the limit for the reply to a command.
func (x *xfer) timeout(st stage) time.Duration {
	set := &x.a.c.Settings
	if !x.heard && x.s.uses > 1 {
		// A connection that lay idle may be dead without anybody knowing.
		return min(set.RsetTimeout, set.MailTimeout)
	}
	switch st {
	case stReset:
		return set.RsetTimeout
	case stXForward1, stXForward2:
		return set.XForwardTimeout
	case stMail:
		return set.MailTimeout
	case stRcpt:
		return set.RcptTimeout
	}
	return set.DataInitTimeout
}

// stageText says what was going on, stageCommand what was answered.
var (
	stageText = [...]string{"sending final RSET", "sending XFORWARD name/address", "sending XFORWARD protocol/helo_name",
		"sending MAIL FROM", "sending RCPT TO", "sending DATA command"}
	stageCommand = [...]string{"final RSET command", "XFORWARD name/address command", "XFORWARD helo/protocol command",
		"MAIL FROM command", "RCPT TO command", "DATA command"}
)

// fail ends the session after an I/O error, or says that it was dead already.
func (x *xfer) fail(ctx context.Context, err error, at stage) (dead bool) {
	x.s.broken = true
	if !x.heard && x.s.uses > 1 && ctx.Err() == nil {
		return true
	}
	x.a.ioFail(ctx, x.s, err, stageText[at])
	return false
}

// said is the failure that a reply is.
func (x *xfer) said(r *reply, command string) *failure {
	s := x.s
	f := replyFailure(r, s.t.host, "host "+s.name+" said: ", " (in reply to "+command+")")
	if f.dsn[0] != '4' && f.dsn[0] != '5' {
		// Success where it makes no sense.
		f.dsn, f.text = "5.5.0", "Protocol error: "+f.text
	}
	if r.class() != 4 && r.class() != 5 {
		s.noCache = true
	}
	return f
}

// reply takes the reply to one command.
func (x *xfer) reply(at stage, r *reply) {
	a, s := x.a, x.s
	ok := r.class() == 2
	if r.code == 421 {
		s.noCache = true
	}
	switch at {
	case stReset:
		s.dirty = false
		if !ok {
			s.noCache = true
		}
	case stXForward1, stXForward2:
		if !ok {
			a.d.Logger.Warnf("host %s said: %s (in reply to %s)", s.relay, r.line(), stageCommand[at])
		}
	case stMail:
		if !ok {
			x.mailRejected = true
			a.bulkFail(s, x.said(r, stageCommand[at]), 0)
		}
	case stRcpt:
		i := a.todo[x.recvRcpt]
		switch {
		case x.mailRejected:
		case !ok:
			a.rcptFail(i, s, x.said(r, stageCommand[at]))
		default:
			x.accepted++
			if a.probe() && a.c.Settings.AddressVerifyTarget != "data" {
				a.sent(i, s, r.enhanced(), r.line())
			}
		}
	case stData:
		x.dataReply(r)
	}
}

// dataReply takes the reply to DATA.
func (x *xfer) dataReply(r *reply) {
	a, s := x.a, x.s
	x.dataOK = r.class() == 3
	if !x.dataOK {
		if x.accepted > 0 {
			a.bulkFail(s, x.said(r, stageCommand[stData]), 0)
		}
		return
	}
	if a.probe() {
		for _, i := range a.todo {
			if a.state[i] == rcptOpen {
				a.sent(i, s, "2.0.0", r.line())
			}
		}
	}
}
