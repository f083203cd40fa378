package smtpd

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sys"
	"postroad/internal/wire"
)

// maxReplay is how much content waits in memory for a filter; more goes to a file.
const maxReplay = 64 << 10

// proxyMail is a message on its way through the filter of smtpd_proxy_filter. It
// takes the place of the queue: what the filter answers is what the client hears,
// and the message has no queue id here.
type proxyMail struct {
	s      *session
	client proxyClient
	// from is the MAIL command as the client gave it.
	from string
	// later are the commands that wait until all content is here, when the filter
	// is spared the wait for slow clients, and store what they are about.
	later []laterCommand
	store replay

	dots *wire.DotWriter
	// prepend goes above our own header.
	prepend []string
	// first is set until content comes, cr when the last byte of it was a CR,
	// large when the limit of its size is exceeded.
	first, cr, large bool
	size             int64
	// mark is set for a message with REQUIRETLS.
	mark *tlsMark
}

// laterCommand is a command for the filter, and how its reply must begin.
type laterCommand struct {
	line string
	want byte
}

// openProxy begins a message with the filter; false means that it has replied.
func (s *session) openProxy(local bool) bool {
	p := &proxyMail{s: s, from: printable(s.tx.line), first: true}
	p.client.filter, p.client.log = s.srv.proxy, s.log
	p.store.dir = s.srv.Scratch
	if s.tx.params.RequireTLS {
		p.from = withoutRequireTLS(p.from)
		if s.set.RequireTLSField {
			p.mark = &tlsMark{pass: p.passText}
		}
	}
	if !s.srv.proxy.adjust && !p.connect(local) {
		p.Abort()
		s.proxyReply(p)
		return false
	}
	s.tx.msg, s.tx.proxy = p, p
	s.logAccepted(mail.NoQueue)
	return true
}

// connect begins the conversation. What goes wrong before MAIL is our failure;
// the reply to MAIL is passed on.
func (p *proxyMail) connect(local bool) bool {
	s, c := p.s, &p.client
	if !c.dial(s.ctx, s.set.ProxyTimeout, &s.srv.pool) {
		return false
	}
	if !c.command("", '2') || !c.command("EHLO "+s.set.ProxyEhlo, '2') || !c.xforward(p.attributes(local)) {
		c.reply = proxyFailure
		return false
	}
	return c.command(p.from, '2')
}

// attributes are what XFORWARD says, in Postfix's order.
func (p *proxyMail) attributes(local bool) []xforwardAttr {
	f := p.s.facts(local)
	known := func(v string) string {
		if v == "unknown" {
			return ""
		}
		return v
	}
	source := "REMOTE"
	if local {
		source = "LOCAL"
	}
	if x := p.s.peer.Forwarded; x != nil && x.Source != "" {
		source = x.Source
	}
	addr := known(f.Addr)
	if strings.Contains(addr, ":") {
		addr = "IPv6:" + addr
	}
	return []xforwardAttr{{"NAME", known(f.Name)}, {"ADDR", addr}, {"PORT", known(f.Port)}, {"HELO", f.Helo},
		{"IDENT", f.Ident}, {"PROTO", f.Proto}, {"SOURCE", source}}
}

// command passes a command of the client on, now or later.
func (p *proxyMail) command(line string, want byte) bool {
	line = printable(line) // a CR in it must not become a command of its own
	if p.s.srv.proxy.adjust {
		p.later = append(p.later, laterCommand{line, want})
		return true
	}
	return p.client.command(line, want)
}

// proxyReply passes the filter's last reply on. An enhanced code that is the same
// in all lines is one of the reply.
func (s *session) proxyReply(p *proxyMail) { s.status(proxyStatus(p.client.reply)) }

// proxyStatus reads a reply of a filter.
func proxyStatus(reply string) mail.Status {
	var st mail.Status
	for i, line := range strings.Split(reply, "\r\n") {
		st.Code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
		text := line[min(len(line), 4):]
		if i == 0 {
			if e := wire.EnhancedCode(text); e != "" {
				st.Enhanced, text = e, strings.TrimPrefix(text[len(e):], " ")
			}
			st.Text = text
			continue
		}
		rest, same := strings.CutPrefix(text, st.Enhanced+" ")
		if st.Enhanced != "" && !same {
			st.Enhanced, st.Text = "", st.Enhanced+" "+st.Text
			rest = text
		}
		if st.Enhanced == "" {
			rest = text
		}
		st.Text += "\n" + rest
	}
	return st
}

// beginData asks the filter for leave to send the content.
func (s *session) beginData() bool {
	p := s.tx.proxy
	if p == nil {
		return true
	}
	if !p.command("DATA", '3') {
		s.proxyReply(p)
		return false
	}
	p.dots = wire.NewDotWriter(p.client.w)
	return true
}

// ID implements Message: the filter's message is none of the queue.
func (p *proxyMail) ID() mail.QueueID { return "" }

// Objected implements Message: mail filters do not see the content.
func (p *proxyMail) Objected() bool { return false }

// SetSender implements Message; the filter has the sender from MAIL.
func (p *proxyMail) SetSender(mail.Address, SenderParams) {}

// AddRecipient implements Message; the filter has it from RCPT.
func (p *proxyMail) AddRecipient(mail.Recipient) {}

// Apply implements Message. Only what is put into the header concerns a message
// that is not queued here.
func (p *proxyMail) Apply(a access.Actions) {
	p.prepend = append(p.prepend, a.Prepend...)
}

// Header implements Message. A mail system between others leaves no trace.
func (p *proxyMail) Header(field string) {
	fields := p.prepend
	if p.s.peer.Forwarded == nil {
		fields = append(fields, field)
	}
	for _, h := range fields {
		p.pass([]byte(strings.ReplaceAll(strings.ReplaceAll(h, "\r\n", "\n"), "\n", "\r\n") + "\r\n"))
	}
}

// Write implements Message.
func (p *proxyMail) Write(b []byte) (int, error) {
	n := len(b)
	if n == 0 {
		return 0, nil
	}
	if p.size += int64(n); !p.large && p.s.set.MessageLimit > 0 && p.size > p.s.set.MessageLimit {
		p.large = true
		p.s.log.Warnf("%s: queue file size limit exceeded", mail.NoQueue)
	}
	if p.large {
		return n, nil
	}
	if p.first {
		p.first = false
		// What stands here would be taken for a part of our own header.
		if bytes.HasPrefix(bytes.TrimLeft(b, ">"), []byte("From ")) {
			p.pass([]byte("X-Mailbox-Line: "))
		} else if b[0] == ' ' || b[0] == '\t' {
			p.pass([]byte("\r\n"))
		}
	}
	if p.mark != nil {
		p.mark.write(b)
	} else {
		p.passText(b)
	}
	return n, nil
}

// passText passes content on, with a blank for each CR that ends no line: some
// take it for a line end (and what follows for the end of the message).
func (p *proxyMail) passText(b []byte) {
	if p.cr && b[0] != '\n' {
		p.pass([]byte(" "))
	} else if p.cr {
		p.pass([]byte("\r"))
	}
	if p.cr = b[len(b)-1] == '\r'; p.cr {
		b = b[:len(b)-1]
	}
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			break
		}
		if i+1 < len(b) && b[i+1] == '\n' {
			p.pass(b[:i+2])
			b = b[i+2:]
			continue
		}
		p.pass(b[:i])
		p.pass([]byte(" "))
		b = b[i+1:]
	}
	p.pass(b)
}

// pass gives bytes to the filter, or keeps them for it.
func (p *proxyMail) pass(b []byte) {
	if p.s.srv.proxy.adjust {
		p.store.write(b)
		return
	}
	if p.client.lost {
		return
	}
	if _, err := p.dots.Write(b); err != nil {
		p.client.fail(err)
	}
}

// Finish implements Message.
func (p *proxyMail) Finish(context.Context) mail.Status {
	c := &p.client
	st := mail.Status{Code: 552, Enhanced: "5.3.4", Text: "Error: message file too big"}
	if p.mark != nil && !p.large {
		p.mark.finish()
	}
	if !p.large {
		if p.send() && !c.lost {
			if err := p.dots.Close(); err != nil {
				c.fail(err)
			} else {
				c.command("", 0) // the dot goes out; any answer is one
			}
		}
		st = proxyStatus(c.reply)
	}
	p.verdict(st.Code/100 == 2)
	p.Abort()
	return st
}

// send makes sure that the filter has got everything but the final dot.
func (p *proxyMail) send() bool {
	c := &p.client
	switch {
	case !p.s.srv.proxy.adjust:
		return true
	case p.store.err != nil:
		p.s.log.Warnf("proxy speed-adjust log I/O error: %s", sys.Reason(p.store.err))
		return c.fail(nil)
	case !p.connect(p.s.tx.local):
		return false
	}
	for _, cmd := range p.later {
		// One refusal is enough: the filter answers for all recipients at once.
		if !c.command(cmd.line, cmd.want) {
			return false
		}
	}
	p.dots = wire.NewDotWriter(c.w)
	if err := p.store.copyTo(p.dots); err != nil {
		return c.fail(err)
	}
	return true
}

// verdict logs what the filter said.
func (p *proxyMail) verdict(accepted bool) {
	s := p.s
	e := &event.ProxyVerdict{Accepted: accepted, Reply: p.client.reply}
	e.HasFrom, e.From = true, s.req.Sender.External()
	e.HasTo, e.To = s.tx.first != "", s.tx.first.External()
	e.Proto, e.Helo, e.SASL = s.peer.Proto(), s.peer.Helo, s.peer.SASL
	s.log.Emit(e)
}

// Abort implements Message.
func (p *proxyMail) Abort() {
	p.client.close()
	p.store.close()
}

// replay keeps the content of a message for the filter.
type replay struct {
	dir  string
	mem  []byte
	file *os.File
	err  error
}

// write keeps b; the first error stays.
func (r *replay) write(b []byte) {
	if r.err != nil {
		return
	}
	if r.file == nil && len(r.mem)+len(b) <= maxReplay {
		r.mem = append(r.mem, b...)
		return
	}
	if r.file == nil {
		if r.file, r.err = os.CreateTemp(r.dir, "speed_adjust"); r.err != nil {
			return
		}
		// Nobody else needs its name, and a crash leaves nothing behind.
		if r.err = os.Remove(r.file.Name()); r.err != nil {
			return
		}
	}
	r.mem = append(r.mem, b...)
	if len(r.mem) >= maxReplay {
		_, r.err = r.file.Write(r.mem)
		r.mem = r.mem[:0]
	}
}

// copyTo writes everything to w.
func (r *replay) copyTo(w io.Writer) error {
	if r.file != nil {
		if _, err := r.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, r.file); err != nil {
			return err
		}
	}
	_, err := w.Write(r.mem)
	return err
}

// close forgets everything.
func (r *replay) close() {
	if r.file != nil {
		_ = r.file.Close() // it has no name any more
	}
	r.file, r.mem = nil, nil
}
