package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
	"postroad/internal/queue"
	"postroad/internal/sys"
)

const postcatUsage = "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] " +
	"[-h (header text)] [-q (access queue)] [-v] [file(s)...]"

// catOptions are the sections and decorations that postcat prints.
type catOptions struct {
	body, envelope, header bool
	types, offsets         bool
	// names prints the names of record types before text that has none.
	names bool
}

// runPostcat is postcat(1). Queue files of Postfix do not exist here: messages
// are named by their queue id, with -q.
func runPostcat(e *Env) int {
	var dir string
	var o catOptions
	byID := false
	g := NewGetopt(e.Args, "bc:defhoqrs:v")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(1, postcatUsage)
		}
		if opt == 0 {
			break
		}
		switch opt {
		case 'b':
			o.body = true
		case 'c':
			dir = g.Arg
		case 'd':
			o.types = true
		case 'e':
			o.envelope = true
		case 'h':
			o.header = true
		case 'o':
			o.offsets = true
		case 'q':
			byID = true
		case 'v':
			o.names = true
		}
	}
	if !o.body && !o.envelope && !o.header {
		o.body, o.envelope, o.header = true, true, true
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if !byID {
		return e.catFiles(g.Args())
	}
	return e.catMessages(c, &o, g.Args())
}

// catFiles refuses files: there are none that hold a message in our queue.
func (e *Env) catFiles(files []string) int {
	if len(files) == 0 {
		return 0
	}
	if _, err := os.Stat(files[0]); err != nil {
		return e.Fatalf(1, "open %s: %s", files[0], sys.Reason(err))
	}
	return e.Fatalf(1, "%s: the queue does not consist of message files; use postcat -q with the queue id", files[0])
}

// catMessages prints messages by their queue id.
func (e *Env) catMessages(c *config, o *catOptions, ids []string) int {
	for _, id := range ids {
		if !cleanID(id) {
			return e.Fatalf(1, "bad mail queue ID: %s", shorten(id))
		}
	}
	if len(ids) == 0 {
		return 0
	}
	ctx := context.Background()
	q, err := e.queue(ctx, c, nil)
	if err != nil {
		return e.Fatalf(1, "open queue file %s: %s", ids[0], sys.Reason(err))
	}
	defer q.Close()
	out := bufio.NewWriter(e.Stdout)
	defer out.Flush()
	for _, id := range ids {
		m, err := q.Cat(ctx, mail.QueueID(id))
		if errors.Is(err, control.ErrNotFound) || errors.Is(err, queue.ErrNotFound) {
			out.Flush()
			return e.Fatalf(1, "open queue file %s: No such file or directory", id)
		}
		if control.Denied(err) {
			return e.Fatalf(1, "open queue file %s: Permission denied", id)
		}
		if err == nil {
			err = (&catPrinter{w: out, o: o}).message(m)
		}
		if err != nil {
			return e.Fatalf(1, "%s: %v", id, err)
		}
	}
	return 0
}

// catPrinter prints one message in postcat's form.
type catPrinter struct {
	w      *bufio.Writer
	o      *catOptions
	offset int64
}

// The record types of a queue file, as option -d shows them.
const (
	recSize     = 'C'
	recTime     = 'T'
	recAttr     = 'A'
	recFull     = 'F'
	recVERP     = 'V'
	recFrom     = 'S'
	recRcpt     = 'R'
	recDone     = 'D'
	recOrig     = 'O'
	recContent  = 'M'
	recLine     = 'N'
	recXtra     = 'X'
	recEnd      = 'E'
	timeFormat  = time.ANSIC
	sizeFormat  = "%15d %15d %15d %15d %15d %15d"
	sectionText = "*** %s %s ***"
)

// record prints one line with the decorations that -d and -o ask for.
func (p *catPrinter) record(kind byte, text string) {
	if p.o.offsets {
		fmt.Fprintf(p.w, "%9d ", p.offset)
	}
	if p.o.types {
		fmt.Fprintf(p.w, "%3d ", kind)
	}
	io.WriteString(p.w, text+"\n")
}

// message prints the sections.
func (p *catPrinter) message(m *control.Message) error {
	name := m.Queue + "/" + string(m.Envelope.ID)
	if p.o.envelope {
		fmt.Fprintf(p.w, sectionText+"\n", "ENVELOPE RECORDS", name)
		p.envelope(m)
		p.record(recContent, fmt.Sprintf(sectionText, "MESSAGE CONTENTS", name))
	}
	if err := p.content(m.Content); err != nil {
		return err
	}
	if p.o.envelope {
		p.record(recXtra, fmt.Sprintf(sectionText, "HEADER EXTRACTED", name))
		p.attributes([]attribute{{"message_id", m.Envelope.MessageID}})
		p.record(recEnd, fmt.Sprintf(sectionText, "MESSAGE FILE END", name))
	}
	return nil
}

// envelope prints the envelope as records, in Postfix's order.
func (p *catPrinter) envelope(m *control.Message) {
	e := m.Envelope
	options := maildrop.SenderOptions(e.SMTPUTF8, e.TLSOptional, e.RequireTLS)
	p.record(recSize, "message_size: "+fmt.Sprintf(sizeFormat, m.Content.Size(), 0, len(e.Recipients), 0, m.Content.Size(), options))
	p.record(recTime, "message_arrival_time: "+e.Arrived.Local().Format(timeFormat))
	p.record(recAttr, "create_time: "+e.Arrived.Local().Format(timeFormat))
	p.attributes(messageAttributes(e))
	if e.FullName != "" {
		p.record(recFull, "sender_fullname: "+e.FullName)
	}
	p.record(recFrom, "sender: "+string(e.Sender))
	if e.VERP != "" {
		p.record(recVERP, "verp_delimiters: "+e.VERP)
	}
	p.attributes(clientAttributes(e))
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if r.Notify != 0 {
			p.record(recAttr, fmt.Sprintf("named_attribute: notify_flags=%d", postfixNotify(r.Notify)))
		}
		if r.ORCPT != "" {
			p.record(recAttr, "named_attribute: dsn_orig_rcpt="+r.ORCPT)
		}
		if r.Original != "" {
			p.record(recOrig, "original_recipient: "+string(r.Original))
		}
		if i < len(m.Done) && m.Done[i] {
			p.record(recDone, "done_recipient: "+string(r.Address))
		} else {
			p.record(recRcpt, "recipient: "+string(r.Address))
		}
	}
}

// attribute is a named attribute.
type attribute struct{ name, value string }

// attributes prints those that have a value.
func (p *catPrinter) attributes(list []attribute) {
	for _, a := range list {
		if a.value != "" {
			p.record(recAttr, "named_attribute: "+a.name+"="+a.value)
		}
	}
}

// postfixNotify are the bits of Postfix's notify_flags attribute.
func postfixNotify(n mail.Notify) int {
	bits := 0
	for _, b := range []struct {
		ours mail.Notify
		bit  int
	}{{mail.NotifyNever, 1}, {mail.NotifySuccess, 2}, {mail.NotifyFailure, 4}, {mail.NotifyDelay, 8}} {
		if n&b.ours != 0 {
			bits |= b.bit
		}
	}
	return bits
}

// messageAttributes stand before the sender.
func messageAttributes(e *mail.Envelope) []attribute {
	list := []attribute{{"log_ident", e.Client.Ident}, {"rewrite_context", e.Client.RewriteContext}, {"envelope_id", e.EnvID}}
	if e.Origin == mail.OriginInternal {
		list = []attribute{{"log_message_origin", "local"}}
	}
	if e.Ret != mail.RetUnset {
		list = append(list, attribute{"ret_flags", strconv.Itoa(int(e.Ret))})
	}
	if e.Trace || e.Probe {
		list = append(list, attribute{"trace_flags", strconv.Itoa(maildrop.TraceFlags(e.Probe, e.Trace))})
	}
	return list
}

// clientAttributes stand behind the sender of a message from the network.
func clientAttributes(e *mail.Envelope) []attribute {
	c := &e.Client
	var list []attribute
	if e.EightBit {
		list = append(list, attribute{"encoding", "8bit"})
	}
	if e.Origin != mail.OriginSMTP {
		return list
	}
	return append(list,
		attribute{"sasl_method", c.SASLMethod}, attribute{"sasl_username", c.SASLUser}, attribute{"sasl_sender", c.SASLSender},
		attribute{"log_client_name", c.Name}, attribute{"log_client_address", c.Addr}, attribute{"log_client_port", c.Port},
		attribute{"log_message_origin", c.Name + "[" + c.Addr + "]"}, attribute{"log_helo_name", c.Helo}, attribute{"log_protocol_name", c.Proto},
		attribute{"client_name", c.Name}, attribute{"reverse_client_name", c.ReverseName}, attribute{"client_address", c.Addr},
		attribute{"client_port", c.Port}, attribute{"helo_name", c.Helo}, attribute{"protocol_name", c.Proto})
}

// line prints a line of the content.
func (p *catPrinter) line(text string) {
	if p.o.names {
		text = "regular_text: " + text
	}
	p.record(recLine, text)
}

// content prints header and body with LF line ends.
func (p *catPrinter) content(c mail.Content) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 64<<10)
	inHeader := true
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if inHeader && text == "" {
				inHeader = false
				if p.o.body {
					p.line(text)
				}
			} else if (inHeader && p.o.header) || (!inHeader && p.o.body) {
				p.line(text)
			}
			p.offset += int64(len(line))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
