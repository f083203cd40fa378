package bounce

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/wire"
)

// notice is one notification to be written.
type notice struct {
	kind   *kind
	report *Report
	// from is empty but for notices to the postmaster; original is to as main.cf
	// names it.
	from, to   mail.Address
	original   mail.Address
	recipients []Failed
	// copy marks a notice to the postmaster: no opening text.
	copy        bool
	headersOnly bool
	// log is how the log calls it. A copy is sent for a class of notify_classes;
	// doing is for the log when it cannot be.
	log, class, doing string
}

// dateForm is RFC 5322 3.3 as mail systems write it, with the name of the zone.
const dateForm = "Mon, 02 Jan 2006 15:04:05 -0700 (MST)"

// Width and indentation of wrapped lines.
const (
	wrapWidth  = 79
	wrapIndent = 4
)

// printer writes the lines of a report and keeps the first error.
type printer struct {
	w   *bufio.Writer
	err error
}

// line writes one line. A control character cannot end it.
func (p *printer) line(parts ...string) {
	for _, part := range parts {
		for i := 0; i < len(part); i++ {
			c := part[i]
			if c < ' ' && c != '\t' || c == 0x7f {
				c = '?'
			}
			p.w.WriteByte(c)
		}
	}
	_, p.err = p.w.WriteString("\r\n")
}

// wrapped writes a text in lines of wrapWidth, later ones indented. Words are
// never cut.
func (p *printer) wrapped(text string) {
	width, indent := wrapWidth, ""
	for {
		text = strings.TrimRight(text, " \t")
		cut := wrapAt(text, width)
		p.line(indent, strings.TrimRight(text[:cut], " \t"))
		text = strings.TrimLeft(text[cut:], " \t")
		if text == "" {
			return
		}
		width, indent = wrapWidth-wrapIndent, strings.Repeat(" ", wrapIndent)
	}
}

// wrapAt is the index of the word that no longer fits, or the end.
func wrapAt(text string, width int) int {
	for word := 0; word < len(text); {
		end := word + strings.IndexAny(text[word:], " \t")
		if end < word {
			end = len(text)
		}
		if end > width && word > 0 {
			return word
		}
		word = end + 1
	}
	return len(text)
}

// write writes the report.
func (s *Service) write(w io.Writer, id mail.QueueID, n *notice) error {
	p := &printer{w: bufio.NewWriterSize(w, 8192)}
	now := s.now()
	env := n.report.Envelope
	boundary := string(env.ID) + "." + strconv.FormatInt(now.Unix(), 10) + "/" + s.set.MyHostname
	// As Postfix does: what the original holds is not known to be 7-bit.
	const eight = true
	s.header(p, id, n, boundary, now)
	s.people(p, n, boundary, eight)
	s.facts(p, n, boundary)
	if err := s.original(p, n, boundary, eight); err != nil {
		return err
	}
	p.line("")
	p.line("--", boundary, "--")
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// header writes the header of the report (RFC 3834 5.1 for Auto-Submitted).
func (s *Service) header(p *printer, id mail.QueueID, n *notice, boundary string, now time.Time) {
	env := n.report.Envelope
	tpl := s.texts.byLabel[n.kind.label]
	subject, auto := tpl.subject, "auto-replied"
	if n.copy {
		auto = "auto-generated"
		if tpl.pmSubject != "" {
			subject = tpl.pmSubject
		}
	}
	p.line("Received: by ", s.set.MyHostname, " (", s.set.MailName, ")")
	p.line("\tid ", string(id), "; ", now.Format(dateForm))
	p.line("Date: ", now.Format(dateForm))
	p.line("From: ", s.from(tpl.from))
	p.line("Subject: ", subject)
	p.line("To: ", s.text(n.to.External(), env.SMTPUTF8))
	if s.set.Threaded && env.MessageID != "" {
		p.line("References: ", s.text(env.MessageID, env.SMTPUTF8))
		p.line("In-Reply-To: ", s.text(env.MessageID, env.SMTPUTF8))
	}
	if env.TLSOptional && !env.RequireTLS {
		p.line("TLS-Required: no") // RFC 8689 5
	}
	p.line("Auto-Submitted: ", auto)
	p.line("MIME-Version: 1.0")
	p.line("Content-Type: multipart/report; report-type=delivery-status;")
	p.line("\tboundary=\"", boundary, "\"")
	p.line("Content-Transfer-Encoding: 8bit")
	p.line("Message-Id: <", now.UTC().Format("20060102150405"), ".", string(id), "@", s.set.MyHostname, ">")
	p.line("")
	p.line("This is a MIME-encapsulated message.")
}

// people writes the part that people read.
func (s *Service) people(p *printer, n *notice, boundary string, eight bool) {
	p.line("")
	p.line("--", boundary)
	p.line("Content-Description: Notification")
	charset := s.texts.byLabel[n.kind.label].charset
	if eight && strings.EqualFold(charset, "us-ascii") {
		charset = "utf-8" // for the addresses below
	}
	p.line("Content-Type: text/plain; charset=", charset)
	if eight {
		p.line("Content-Transfer-Encoding: 8bit")
	}
	p.line("")
	if !n.copy {
		s.opening(p, n.kind)
	}
	for i := range n.recipients {
		f := &n.recipients[i]
		text := "<" + f.Recipient.Address.External() + ">"
		if o := f.Recipient.Original; o != "" && o != f.Recipient.Address {
			text += " (expanded from <" + o.External() + ">)"
		}
		p.line("")
		p.wrapped(s.text(text+": "+n.kind.reason(&f.Result), eight))
	}
}

// opening writes what the template says.
func (s *Service) opening(p *printer, k *kind) {
	text, err := s.texts.expand(k.label, s.log.Warnf)
	if err != nil {
		s.log.Warnf("%v", err) // the check at the start found nothing: say little
		return
	}
	for l := range strings.Lines(text) {
		p.line(strings.TrimRight(l, "\n"))
	}
}

// from is a From header with the domains that its addresses lack.
func (s *Service) from(value string) string {
	out, err := rewrite.RewriteHeader(value, func(a mail.Address) (mail.Address, error) { return s.complete(string(a)), nil })
	if err != nil {
		return value
	}
	return out
}

// facts writes the part that programs read (RFC 3464 2, RFC 6533 3 for the
// global form).
func (s *Service) facts(p *printer, n *notice, boundary string) {
	env := n.report.Envelope
	p.line("")
	p.line("--", boundary)
	p.line("Content-Description: Delivery report")
	if env.SMTPUTF8 {
		p.line("Content-Type: message/global-delivery-status")
		p.line("Content-Transfer-Encoding: 8bit")
	} else {
		p.line("Content-Type: message/delivery-status")
	}
	p.line("")
	p.line("Reporting-MTA: dns; ", s.set.MyHostname)
	if env.EnvID != "" {
		p.line("Original-Envelope-Id: ", s.text(fromXtext(env.EnvID), env.SMTPUTF8))
	}
	p.line("X-", s.set.MailName, "-Queue-ID: ", string(env.ID))
	p.line("X-", s.set.MailName, "-Sender: ", s.typed(n, s.author(env)))
	if !env.Arrived.IsZero() {
		p.line("Arrival-Date: ", env.Arrived.Format(dateForm))
	}
	for i := range n.recipients {
		s.recipient(p, n, &n.recipients[i])
	}
}

// recipient writes the facts about one recipient (RFC 3464 2.3).
func (s *Service) recipient(p *printer, n *notice, f *Failed) {
	global := n.report.Envelope.SMTPUTF8
	r := &f.Result
	p.line("")
	p.line("Final-Recipient: ", s.typed(n, f.Recipient.Address))
	switch {
	case f.Recipient.ORCPT != "":
		kind, value, ok := strings.Cut(f.Recipient.ORCPT, ";")
		if !ok {
			kind, value = "rfc822", f.Recipient.ORCPT
		}
		p.line("Original-Recipient: ", s.text(kind+";"+fromXtext(value), global))
	case f.Recipient.Original != "":
		p.line("Original-Recipient: ", s.typed(n, f.Recipient.Original))
	}
	p.line("Action: ", n.kind.action(r))
	p.line("Status: ", s.text(r.Enhanced, false))
	if r.RemoteMTA != "" {
		p.wrapped(s.text("Remote-MTA: dns; "+r.RemoteMTA, global))
	}
	switch {
	case r.Diagnostic != "" && r.DiagnosticType != "":
		p.wrapped(s.text("Diagnostic-Code: "+r.DiagnosticType+"; "+r.Diagnostic, global))
	default:
		p.wrapped(s.text("Diagnostic-Code: X-"+s.set.MailName+"; "+n.kind.reason(r), global))
	}
	if n.kind == delayKind && !n.report.RetryUntil.IsZero() {
		p.line("Will-Retry-Until: ", n.report.RetryUntil.Format(dateForm))
	}
}

// original writes the message or its header.
func (s *Service) original(p *printer, n *notice, boundary string, eight bool) error {
	env := n.report.Envelope
	size := n.report.Content.Size()
	headers := n.headersOnly || size <= 0 || size > int64(s.set.SizeLimit)
	what := "Message"
	if n.kind.undelivered {
		what = "Undelivered Message"
	}
	kind := "message/rfc822"
	switch {
	case headers && env.SMTPUTF8:
		kind = "message/global-headers"
	case headers:
		kind = "text/rfc822-headers"
	case env.SMTPUTF8:
		kind = "message/global"
	}
	if headers {
		what += " Headers"
	}
	p.line("")
	p.line("--", boundary)
	p.line("Content-Description: ", what)
	p.line("Content-Type: ", kind)
	if eight {
		p.line("Content-Transfer-Encoding: 8bit")
	}
	p.line("")
	r, err := n.report.Content.Open()
	if errors.Is(err, fs.ErrNotExist) {
		// The message is lost; its sender still hears of the failure.
		p.line("\t--- Undelivered message unavailable ---")
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	p.line("Return-Path: <", s.text(s.author(env).External(), env.SMTPUTF8), ">")
	if headers {
		return copyHeader(p.w, r)
	}
	return copyMessage(p.w, r)
}

// author is the sender of a message, or who stands for nobody.
func (s *Service) author(env *mail.Envelope) mail.Address {
	if env.Sender == "" {
		return mail.Address("MAILER-DAEMON@" + s.set.MyHostname)
	}
	return env.Sender
}

// copyMessage copies all of the original and ends its last line.
func copyMessage(w *bufio.Writer, r io.Reader) error {
	tail := &lastByte{}
	if _, err := io.Copy(io.MultiWriter(w, tail), r); err != nil {
		return err
	}
	if tail.seen && tail.b != '\n' {
		w.WriteString("\r\n")
	}
	return nil
}

// lastByte remembers how a stream ended.
type lastByte struct {
	b    byte
	seen bool
}

// Write implements io.Writer.
func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.b, l.seen = p[len(p)-1], true
	}
	return len(p), nil
}

// copyHeader copies lines as long as they belong to the header.
func copyHeader(w *bufio.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 4096)
	whole := true
	for {
		line, err := in.ReadSlice('\n')
		if whole && !headerLine(line) {
			return nil
		}
		if len(line) > 0 {
			w.Write(line)
			whole = line[len(line)-1] == '\n'
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			if !whole {
				w.WriteString("\r\n")
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// headerLine tells whether a line is a header field or continues one (RFC 5322 2.2).
func headerLine(line []byte) bool {
	if len(line) == 0 {
		return false
	}
	return line[0] == ' ' || line[0] == '\t' || mail.FieldName(line) > 0
}

// typed is an address with its type: utf-8 when it needs to be (RFC 6533 3),
// else rfc822.
func (s *Service) typed(n *notice, a mail.Address) string {
	text := a.External()
	if n.report.Envelope.SMTPUTF8 && !isASCII(text) && utf8.ValidString(text) {
		return "utf-8; " + text
	}
	return "rfc822; " + s.text(text, false)
}

// text is what may stand in the report: other than ASCII only where allowed,
// and then as UTF-8.
func (s *Service) text(text string, allow8 bool) string {
	if isASCII(text) || allow8 && utf8.ValidString(text) {
		return text
	}
	b := []byte(text)
	for i, c := range b {
		if c >= 0x80 {
			b[i] = '?'
		}
	}
	return string(b)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// fromXtext decodes xtext (RFC 3461 4); what is no xtext stays as it is.
func fromXtext(s string) string {
	if text, err := wire.DecodeXtext(s); err == nil {
		return text
	}
	return s
}
