package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postroad/internal/access"
	"postroad/internal/mail"
	"postroad/internal/wire"
)

// spoken are the commands of a question, by the stage that they lead to: what the
// client sends, and how the server reads what smtpd_command_filter leaves of it. A
// reader returns the reply to a command that is refused for its form.
var spoken = map[string]struct {
	verbs string
	line  func(*access.Request) string
	read  func(x *explanation, req *access.Request, args string) (reply string)
}{
	"HELO": {"EHLO HELO", func(req *access.Request) string { return "EHLO " + req.Helo }, (*explanation).readHelo},
	"MAIL": {"MAIL", mailLine, (*explanation).readMail},
	"RCPT": {"RCPT", func(req *access.Request) string { return fmt.Sprintf("RCPT TO:<%s>", req.Recipient) }, (*explanation).readRcpt},
	"DATA": {"DATA", func(*access.Request) string { return "DATA" }, func(*explanation, *access.Request, string) string { return "" }},
}

func mailLine(req *access.Request) string {
	if req.Size > 0 {
		return fmt.Sprintf("MAIL FROM:<%s> SIZE=%d", req.Sender, req.Size)
	}
	return fmt.Sprintf("MAIL FROM:<%s>", req.Sender)
}

func (x *explanation) readHelo(req *access.Request, args string) string {
	req.Helo, req.Session.Helo = args, args
	return ""
}

func (x *explanation) readMail(req *access.Request, args string) string {
	addr, params, ok := x.readPath(args, "FROM:")
	if !ok {
		return "501 5.1.7 Bad sender address syntax"
	}
	req.Sender = addr
	for {
		_, name, value, _, more := params.Next()
		if !more {
			break
		}
		if strings.EqualFold(name, "SIZE") {
			req.Size, _ = strconv.ParseInt(value, 10, 64) // nonsense says nothing about the size
		}
	}
	if limit := x.srv.Settings.MessageLimit; limit > 0 && req.Size > limit {
		return "552 5.3.4 Message size exceeds fixed limit"
	}
	return ""
}

func (x *explanation) readRcpt(req *access.Request, args string) string {
	addr, params, ok := x.readPath(args, "TO:")
	if !ok || addr == "" {
		return "501 5.1.3 Bad recipient address syntax"
	}
	req.Recipient = addr
	for {
		param, name, _, _, more := params.Next()
		switch {
		case !more:
			return ""
		case !strings.EqualFold(name, "NOTIFY") && !strings.EqualFold(name, "ORCPT"):
			return "555 5.5.4 Unsupported option: " + param
		}
	}
}

func (x *explanation) readPath(args, keyword string) (addr mail.Address, params wire.Params, ok bool) {
	path, params, err := wire.SplitPath(args, keyword)
	if err != nil {
		return "", params, false
	}
	set := x.srv.Settings
	addr, err = wire.ParsePath(path, wire.PathRules{Strict: set.StrictEnvelopes, UTF8: set.UTF8, Numeric: set.NumericDomain, MinUser: set.AllowMinUser})
	return addr, params, err == nil
}

// command is the command that leads to the stage of a request: what the client sends,
// or what smtpd_command_filter makes of that. The request then is about what it says.
// A reply is that to a command which gets no further.
func (x *explanation) command(ctx context.Context, req *access.Request) (reply string) {
	cmd, ok := spoken[req.Stage]
	if !ok {
		return ""
	}
	line := cmd.line(req)
	if t := x.srv.Lists.Commands; t != nil {
		other, found, err := t.Lookup(ctx, line)
		switch {
		case err != nil:
			x.note("smtpd_command_filter: %s cannot be asked about \"%s\": %v", t, line, err)
			return "421 4.3.0 " + x.srv.Settings.Hostname + " Server local data error"
		case found && other != line:
			x.note("smtpd_command_filter: %s replaces \"%s\" with \"%s\"", t, line, other)
			line = other
		}
	}
	verb, args := wire.Verb([]byte(line))
	if upper := string(bytes.ToUpper(verb)); !slices.Contains(strings.Fields(cmd.verbs), upper) {
		return "not explained, since \"" + line + "\" is another command"
	}
	if req.Stage == "MAIL" && x.early != "" {
		return x.early
	}
	return cmd.read(x, req, string(args))
}
