package postscreen

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/tlsmgr"
	"postroad/internal/wire"
)

// command is a row of the command table.
type command struct {
	name string
	// run serves it and returns the reply; empty when it has said all itself. A
	// nil one is of smtpd alone.
	run func(c *client, args string) string
	// beforeTLS commands are served when TLS is required and not there yet.
	beforeTLS bool
}

// commandTable has the commands that are known.
func commandTable() []command {
	return []command{
		{"HELO", (*client).cmdHelo, true}, {"EHLO", (*client).cmdEhlo, true}, {"STARTTLS", (*client).cmdStartTLS, true},
		{"XCLIENT", nil, false}, {"XFORWARD", nil, false}, {"AUTH", nil, false},
		{"MAIL", (*client).cmdMail, false}, {"RCPT", (*client).cmdRcpt, false},
		{"DATA", (*client).cmdData, false}, {"BDAT", (*client).cmdBdat, false},
		{"RSET", (*client).cmdRset, false}, {"NOOP", (*client).cmdNoop, true},
		{"VRFY", (*client).cmdVrfy, false}, {"ETRN", (*client).cmdEtrn, false}, {"QUIT", (*client).cmdQuit, true},
	}
}

// findCommand finds a command by its name; nil is none.
func findCommand(verb string) *command {
	for _, cmd := range commandTable() {
		if strings.EqualFold(cmd.name, verb) {
			return &cmd
		}
	}
	return nil
}

// serve runs a command.
func (c *client) serve(cmd *command, args string) {
	reply := "502 5.5.2 Error: command not recognized"
	switch {
	case cmd == nil || cmd.run == nil:
	case c.mustTLS() && !cmd.beforeTLS:
		reply = "530 5.7.0 Must issue a STARTTLS command first"
	default:
		reply = cmd.run(c, args)
	}
	if reply != "" && !c.smtp.over && !c.send(reply) {
		c.finish(c.hungUp)
	}
}

// mustTLS tells whether most commands need TLS that is not there.
func (c *client) mustTLS() bool {
	t := c.srv.TLS
	return t != nil && t.Level >= tlsmgr.LevelEncrypt && c.conn == c.raw
}

// cmdHelo ignores what follows the first word; smtpd does not.
func (c *client) cmdHelo(args string) string {
	name, _ := token(args)
	if name == "" {
		return "501 Syntax: HELO hostname"
	}
	c.greetedBy(name)
	return "250 " + c.set.Hostname
}

// greetedBy begins the dialogue anew.
func (c *client) greetedBy(name string) {
	c.smtp.helo, c.smtp.mail, c.smtp.sender = name, false, ""
}

func (c *client) cmdEhlo(args string) string {
	name, _ := token(args)
	if name == "" {
		return "501 Syntax: EHLO hostname"
	}
	c.greetedBy(name)
	c.smtp.esmtp = true
	c.smtp.mask = c.srv.rules.mask
	if maps := c.srv.lists.discard; !maps.Empty() {
		hit, err := maps.Lookup(c.ctx, c.ends.Client.Addr().String())
		if err != nil {
			c.srv.log.Warnf("postscreen_discard_ehlo_keyword_address_maps: %v", err)
		}
		if hit.Found {
			c.smtp.mask = parseMask(fields(hit.Value))
			if c.smtp.mask != c.srv.rules.mask && c.smtp.mask != 0 && c.smtp.mask&maskSilent == 0 {
				c.srv.log.Infof("%s: discarding EHLO keywords: %s", c.name, c.smtp.mask)
			}
		}
	}
	return c.ehloText()
}

// ehloText is the reply to EHLO: what smtpd offers, but for what needs a mail
// server. There is no PIPELINING, so that who uses it is seen.
func (c *client) ehloText() string {
	text := "250-" + c.set.Hostname
	line := func(keyword mask, on bool, word string) {
		if on && c.smtp.mask&keyword == 0 {
			text += "\r\n250-" + word
		}
	}
	size := "SIZE"
	if c.set.MessageLimit > 0 {
		size += " " + itoa64(c.set.MessageLimit)
	}
	line(maskSize, true, size)
	line(maskVRFY, !c.set.HideVRFY, "VRFY")
	line(maskETRN, true, "ETRN")
	t := c.srv.TLS
	line(maskStartTLS, t != nil && t.Level >= tlsmgr.LevelMay && c.conn == c.raw, "STARTTLS")
	line(maskStatusCodes, true, "ENHANCEDSTATUSCODES")
	line(mask8bit, true, "8BITMIME")
	line(maskDSN, true, "DSN")
	line(maskUTF8, c.set.UTF8, "SMTPUTF8")
	line(maskChunking, true, "CHUNKING")
	last := strings.LastIndex(text, "250-")
	return text[:last] + "250 " + text[last+4:]
}

func (c *client) cmdMail(args string) string {
	switch {
	case c.set.HeloRequired && c.smtp.helo == "":
		return "503 5.5.1 Error: send HELO/EHLO first"
	case c.smtp.mail:
		return "503 5.5.1 Error: nested MAIL command"
	}
	addr, ok := pathOf(args)
	if !ok {
		return "501 5.5.4 Syntax: MAIL FROM:<address>"
	}
	c.smtp.mail, c.smtp.sender = true, addr
	return "250 2.1.0 Ok"
}

// cmdRcpt refuses every recipient.
func (c *client) cmdRcpt(args string) string {
	if !c.smtp.mail {
		return "503 5.5.1 Error: need MAIL command"
	}
	addr, ok := pathOf(args)
	if !ok {
		return "501 5.5.4 Syntax: RCPT TO:<address>"
	}
	reply := c.soften(c.rcptReply)
	proto := "SMTP"
	if c.smtp.esmtp {
		proto = "ESMTP"
	}
	c.srv.log.Emit(&event.ScreenReject{
		Client: c.name, Reply: reply, Code: reply[:3], Proto: proto, Helo: c.smtp.helo,
		From: mail.Address(c.smtp.sender).External(), To: mail.Address(addr).External(),
	})
	return c.rcptReply
}

// pathOf finds the address in the arguments of MAIL or RCPT, for the log: quotes
// and route go. Nobody checks it, as no mail comes of it.
func pathOf(args string) (addr string, ok bool) {
	_, text, ok := strings.Cut(args, ":")
	if !ok {
		return "", false
	}
	text = strings.TrimLeft(text, " ")
	end := byte(' ')
	if strings.HasPrefix(text, "<") {
		text, end = text[1:], '>'
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		ch := text[i]
		if !quoted && ch == end {
			break
		}
		if ch == '"' {
			quoted = !quoted
			continue
		}
		if ch == '\\' {
			if i++; i == len(text) {
				break
			}
			ch = text[i]
		}
		b.WriteByte(ch)
	}
	addr = b.String()
	if route, rest, found := strings.Cut(addr, ":"); found && strings.HasPrefix(route, "@") {
		addr = rest
	}
	return addr, true
}

// cmdData hangs up: no client that waits for replies has a reason to say DATA.
func (c *client) cmdData(args string) string {
	c.srv.log.Emit(&event.Screening{What: "data", Text: "DATA without valid RCPT from " + c.name})
	word, _ := token(args)
	switch {
	case word != "":
		c.dropNow("501 5.5.4 Syntax: DATA")
	case !c.smtp.mail:
		c.dropNow("503 5.5.1 Error: need RCPT command")
	default:
		c.dropNow("554 5.5.1 Error: no valid recipients")
	}
	return ""
}

// cmdBdat hangs up, like cmdData, instead of reading the chunk.
func (c *client) cmdBdat(args string) string {
	c.srv.log.Emit(&event.Screening{What: "data", Text: "BDAT without valid RCPT from " + c.name})
	word, _ := token(args)
	switch {
	case c.smtp.mask&maskChunking != 0:
		c.dropNow("502 5.5.1 Error: command not implemented")
	case word == "":
		c.dropNow("501 5.5.4 Syntax: BDAT count [LAST]")
	case !c.smtp.mail:
		c.dropNow("554 5.5.1 Error: need MAIL command")
	default:
		c.dropNow("554 5.5.1 Error: no valid recipients")
	}
	return ""
}

func (c *client) cmdRset(string) string {
	c.smtp.mail, c.smtp.sender = false, ""
	return "250 2.0.0 Ok"
}

func (c *client) cmdNoop(string) string { return "250 2.0.0 Ok" }

func (c *client) cmdVrfy(args string) string {
	word, _ := token(args)
	switch {
	case word == "":
		return "501 5.5.4 Syntax: VRFY address"
	case c.set.NoVRFY:
		return "502 5.5.1 VRFY command is disabled"
	}
	return c.rcptReply
}

func (c *client) cmdEtrn(args string) string {
	word, _ := token(args)
	switch {
	case c.set.HeloRequired && c.smtp.helo == "":
		return "503 5.5.1 Error: send HELO/EHLO first"
	case word == "":
		return "500 Syntax: ETRN domain"
	}
	return "458 Unable to queue messages"
}

func (c *client) cmdQuit(string) string {
	c.dropNow("221 2.0.0 Bye")
	return ""
}

// cmdStartTLS begins TLS (RFC 3207): nothing that was sent before is read after.
func (c *client) cmdStartTLS(args string) string {
	word, _ := token(args)
	switch {
	case word != "":
		return "501 5.5.4 Syntax: STARTTLS"
	case c.conn != c.raw:
		return "554 5.5.1 Error: TLS already active"
	case c.srv.TLS == nil:
		return "502 5.5.1 Error: command not implemented"
	case c.srv.rules.noTLSProxy:
		c.srv.log.Warnf("connect to private/tlsproxy service: No such file or directory")
		return "454 4.7.0 TLS not available due to local problem"
	}
	if !c.write("220 2.0.0 Ready to start TLS\r\n") || !c.handshake() {
		c.finish(c.hungUp)
		return ""
	}
	c.smtp.helo, c.smtp.mail, c.smtp.sender = "", false, ""
	return ""
}

// handshake does the server's part of TLS, in the words of tlsproxy(8).
func (c *client) handshake() bool {
	log := c.srv.tlsLog
	log.Emit(&event.Screening{What: "tls_begin", Text: "CONNECT from " + c.name})
	if c.raw.SetDeadline(time.Now().Add(c.set.CommandTime)) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.set.CommandTime)
	defer cancel()
	conn, desc, err := c.srv.TLS.Handshake(ctx, c.raw)
	if err != nil && !tlsmgr.IsClientCert(err) {
		if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
			log.Warnf("TLS library problem: %v", err)
		}
		log.Infof("TLS handshake failed for service=%s peer=%s", c.set.SMTPService, c.name)
		log.Emit(&event.Screening{What: "tls_end", Text: "DISCONNECT " + c.name})
		return false
	}
	_ = c.raw.SetDeadline(time.Time{}) // the next read sets its own
	c.conn = conn
	c.r.Reset(conn)
	if level := c.srv.rules.tlsLog; level != "" && level != "0" {
		log.Emit(&event.TLSEstablished{Trust: tlsmgr.Trust(desc), Direction: "from", Peer: c.name, Summary: tlsmgr.Summary(desc)})
	}
	return err == nil
}

// footed makes a refusal as soft as configured and adds postscreen_reject_footer. The
// maps are asked for the refusal as it was.
func (c *client) footed(reply string) string {
	if reply == "" || reply[0] != '4' && reply[0] != '5' {
		return reply
	}
	template, soft := c.set.Footer, c.soften(reply)
	if maps := c.srv.lists.footer; !maps.Empty() {
		hit, err := maps.Lookup(c.ctx, reply)
		if err == nil && hit.Found { // the maps have said what is wrong
			template = hit.Value
		}
	}
	text, err := wire.AddFooter(soft, template, func(line string) (string, error) {
		return postconf.ExpandOnce(line, c.footerValue)
	})
	if err != nil {
		c.srv.log.Warnf("reject footer: %v", err)
	}
	return text
}

// footerValue is what the names in a footer stand for. Parameters of main.cf are
// none of the client's business.
func (c *client) footerValue(name string) (string, bool) {
	value := ""
	switch name {
	case "server_name":
		value = c.set.Hostname
	case "client_address":
		value = c.ends.Client.Addr().String()
	case "client_port":
		value = strconv.Itoa(int(c.ends.Client.Port()))
	case "localtime":
		value = time.Now().Format("Jan 02 15:04:05")
	default:
		c.srv.log.Warnf("unknown macro name \"%s\" in expansion request", name)
		return "", false
	}
	return c.srv.rules.allowed.Clean(value), true
}
