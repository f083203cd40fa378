//go:build oracle

package filters

import "postroad/internal/testkit"

// scriptedMain is main.cf for the cases.
const scriptedMain = `milter_default_action = tempfail
milter_command_timeout = 2
milter_content_timeout = 2
milter_header_checks = regexp:{{/^X-Check-(\w+):/ $$1 by check}}
`

type script = testkit.MilterScript

// scriptedCases are all cases.
func scriptedCases() []scripted {
	cases := []scripted{
		{name: "plain", steps: letter()},
		{name: "two messages", steps: letter("RSET", "MAIL FROM:<>", "RCPT TO:<x@d.test> NOTIFY=NEVER", "RCPT TO:<y@d.test>", "DATA", "NOOP", "MAIL FROM:<c@b.test>", "RSET")},
		{name: "EHLO twice, unknown command", settings: []string{"milter_unknown_command_macros=i j"}, steps: []string{"EHLO one", "FOO bar", "HELO two", "MAIL FROM:<a@b.test>", "EHLO three"}},
		{name: "all macros", settings: []string{
			"milter_connect_macros=j {daemon_name} {daemon_addr} {daemon_port} v _ {client_addr} {client_name} {client_ptr} {client_resolve} {client_connections} {unset}",
			"milter_macro_defaults=unset=filled, {other}=x", "milter_data_macros=i {rcpt_addr} {mail_addr} {client_addr} {other}",
			"milter_helo_macros={tls_version} {client_addr}",
		}, steps: letter()},
		{name: "XCLIENT", settings: []string{"milter_connect_macros=_ {client_addr} {client_name} {client_ptr} {client_resolve}"}, steps: []string{
			"EHLO c.test", "XCLIENT NAME=h.test REVERSE_NAME=r.test ADDR=192.0.2.7 LOGIN=joe", "EHLO d.test", "MAIL FROM:<a@b.test> AUTH=<>", "RCPT TO:<x@d.test>",
		}},
		{name: "XCLIENT IPv6", settings: []string{"milter_connect_macros=_ {client_addr}"}, steps: []string{"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1", "EHLO d.test"}},
		{name: "rejected recipients", settings: []string{"smtpd_recipient_restrictions=inline:{{bad@d.test=550 5.7.9 no you don't}}, permit"},
			a: script{Events: 1 << 11}, steps: []string{"EHLO c", "MAIL FROM:<a@b.test>", "RCPT TO:<bad@d.test>", "RCPT TO:<joe@d.test>", "DATA"}},
		{name: "rejected recipients unwanted", settings: []string{"smtpd_recipient_restrictions=inline:{{bad@d.test=550 5.7.9 no}}, permit"},
			steps: []string{"EHLO c", "MAIL FROM:<a@b.test>", "RCPT TO:<bad@d.test>", "RCPT TO:<joe@d.test>", "DATA"}},
		{name: "odd addresses", steps: []string{"EHLO c", `MAIL FROM:<"a b"@b.test> BODY=8BITMIME`, "RCPT TO:Joe@D.Test", "RCPT TO:<>", "RCPT TO:<list@v.test>", "DATA"}},
		{name: "BDAT", steps: []string{"EHLO c", "MAIL FROM:<a@b.test>", "RCPT TO:<joe@d.test>", "BDAT 16 LAST\r\nSubject: x\r\n\r\nhi"}},
		{name: "big body", steps: letter("Subject: big\r\n\r\n" + lines(3000))},
		{name: "no body", steps: letter("Subject: none\r\n")},
		{name: "empty body", steps: letter("Subject: none\r\n\r\n")},
		{name: "two filters", settings: []string{"smtpd_milters=%A %B"}, a: at("eom", "insertheader 0 X-First: 1\naddheader X-Last: 1\nchangeheader 1 Subject: changed\ncontinue"), steps: letter()},
		{name: "first rejects", settings: []string{"smtpd_milters=%A %B"}, a: at("rcpt <joe", "reject"), steps: letter("RCPT TO:<other@d.test>")},
		{name: "first accepts", settings: []string{"smtpd_milters=%A %B"}, a: at("mail", "accept"), steps: letter("MAIL FROM:<again@b.test>")},
		{name: "accepts the connection", a: at("connect", "accept"), steps: letter()},
		{name: "no filter for the client", settings: []string{"smtpd_milter_maps=inline:{127.0.0.1=DISABLE}"}, steps: letter()},
		{name: "another filter for the client", settings: []string{"smtpd_milter_maps=inline:{{127.0.0.1=%B}}"}, steps: letter()},
		{name: "no_milters", settings: []string{"receive_override_options=no_milters"}, steps: letter()},
		{name: "AUTH, VRFY, STARTTLS after connect reject", a: at("connect", "reject"), steps: []string{"EHLO c", "VRFY joe", "STARTTLS", "HELO c", "MAIL FROM:<a@b.test>", "NOOP"}},
		{name: "VRFY, STARTTLS after connect tempfail", a: at("connect", "tempfail"), steps: []string{"EHLO c", "VRFY joe", "STARTTLS", "MAIL FROM:<a@b.test>"}},
		{name: "unknown, 4xx", a: at("unknown", "reply 452 4.5.6 perhaps later"), steps: []string{"FOO", "EHLO c"}},
		{name: "unknown, 5xx", a: at("unknown", "reject"), steps: []string{"FOO", "EHLO c"}},
		{name: "soft bounce", settings: []string{"soft_bounce=yes"}, a: at("mail", `reply 550-5.7.1 one\r\n550 5.7.1 two`), steps: letter()},
		{name: "STARTTLS", settings: []string{"milter_mail_macros={tls_version} {cipher} {cipher_bits} {cert_subject} {auth_type}"}, steps: append([]string{"EHLO plain", "STARTTLS"}, letter()...)},
		{name: "STARTTLS in a transaction", steps: append([]string{"EHLO plain", "MAIL FROM:<a@b.test>", "STARTTLS"}, letter()...)},
		{name: "delay_open no", settings: []string{"smtpd_delay_open_until_valid_rcpt=no"}, steps: letter()},
	}
	cases = append(cases, answerCases()...)
	cases = append(cases, protocolCases()...)
	cases = append(cases, editCases()...)
	cases = append(cases, failureCases()...)
	// A cleanup(8) of Postfix remembers the answer of milter_header_checks beyond
	// the message: these come last.
	return append(cases, checkCases()...)
}

// lines is a body of n lines.
func lines(n int) string {
	var out []byte
	for i := range n {
		out = append(out, "this is line number "...)
		for d := 1000; d > 0; d /= 10 {
			out = append(out, byte('0'+i/d%10))
		}
		out = append(out, " of a body that needs more than one packet\r\n"...)
	}
	return string(out)
}

// answerCases are every answer at every event.
func answerCases() []scripted {
	var out []scripted
	for _, event := range []string{"connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"} {
		for _, answer := range []string{"accept", "reject", "tempfail", "discard", "shutdown", "skip", "progress\ncontinue",
			"reply 550 5.7.1 my %%reason", "reply 421 4.7.0 go away", "reply 451-4.7.1 first\\r\\n451 4.7.1 second", "reply 550 nothing enhanced",
			"reply 999 wrong", "quarantine because\ncontinue"} {
			if answer == "quarantine because\ncontinue" && event != "eom" {
				continue
			}
			out = append(out, scripted{name: event + " " + answer, a: at(event, answer), steps: letter("MAIL FROM:<next@b.test>", "RCPT TO:<joe@d.test>")})
		}
	}
	return out
}

// protocolCases are versions, masks and lists of macros.
func protocolCases() []scripted {
	out := []scripted{
		{name: "version 2 of the filter", a: script{Version: 2, Actions: 0x3f}, steps: letter("FOO")},
		{name: "version 4 of the filter", a: script{Version: 4, Actions: 0x3f}, steps: letter("FOO")},
		{name: "version 5 of the filter", a: script{Version: 5, Actions: 0x3f}, steps: letter("FOO")},
		{name: "version 2", settings: []string{"milter_protocol=2"}, steps: letter("FOO")},
		{name: "version 3", settings: []string{"milter_protocol=3"}, steps: letter("FOO")},
		{name: "version 4, no header replies", settings: []string{"milter_protocol=4 no_header_reply"}, a: script{Version: 4, Actions: 0x3f, Events: 1 << 7}, steps: letter("FOO")},
		{name: "version of its own", settings: []string{"smtpd_milters={ %A, protocol=4 }"}, steps: letter("FOO")},
		{name: "version too new", a: script{Version: 7, Actions: 0x1ff}, steps: letter()},
		{name: "unknown actions", a: script{Version: 6, Actions: 0x1000}, steps: letter()},
		{name: "bad version", settings: []string{"milter_protocol=5"}, steps: letter()},
		{name: "no replies at all", a: script{Events: 1<<7 | 0x7f<<12 | 1<<19}, steps: letter("FOO")},
		{name: "leading space", a: script{Events: 1 << 20, Answers: map[string]string{"eom": "addheader X-New:  two blanks\ncontinue"}}, steps: letter()},
		{name: "macros of the filter", a: script{Macros: []testkit.MilterMacros{
			{Stage: 0, Names: "{client_addr} j"}, {Stage: 1, Names: "j"}, {Stage: 2, Names: "{mail_mailer}"}, {Stage: 3, Names: "{rcpt_addr},{mail_addr}"}, {Stage: 4, Names: "i"},
			{Stage: 5, Names: "i {auth_type} {client_name} {mail_addr} {daemon_port} j v"}, {Stage: 6, Names: "_ {client_ptr}"},
		}}, steps: letter()},
		{name: "macros of an unknown stage", a: script{Macros: []testkit.MilterMacros{{Stage: 9, Names: "x"}, {Stage: 2, Names: ""}}}, steps: letter()},
	}
	for bit, name := range []string{"connect", "helo", "mail", "rcpt", "body", "headers", "eoh"} {
		out = append(out, scripted{name: "without " + name, a: script{Events: 1 << bit}, steps: letter()})
	}
	return out
}

// editCases are modifications at the end of the message.
func editCases() []scripted {
	var out []scripted
	for name, answer := range map[string]string{
		"add": "addheader X-New: value", "add folded": `addheader X-New: one\n\ttwo`, "add folded without blank": `addheader X-New: one\ntwo`,
		"insert 0": "insertheader 0 X-New: value", "insert 1": "insertheader 1 X-New: value", "insert 2": "insertheader 2 X-New: value",
		"insert far": "insertheader 99 X-New: value", "insert twice": "insertheader 0 X-New: 1\ninsertheader 0 X-New: 2",
		"change": "changeheader 1 subject: new", "change second": "changeheader 2 X-Two: new", "change 0": "changeheader 0 Subject: new",
		"change none": "changeheader 3 X-Two: new", "change folded": "changeheader 1 X-Fold: new", "change Received": "changeheader 1 Received: new",
		"change what was added": "insertheader 0 X-New: 1\nchangeheader 1 X-New: 2\naddheader X-New: 3\nchangeheader 2 X-New: 4",
		"delete":                "changeheader 1 Subject:", "delete second": "changeheader 2 X-Two:", "delete none": "changeheader 1 X-None:",
		"delete folded": "changeheader 1 X-Fold:", "delete Received": "changeheader 1 Received:",
		"delete and insert": "changeheader 1 Subject:\ninsertheader 1 X-New: here",
		"body":              `replacebody new\r\nbody\r\n`, "body without end": `replacebody new\r\nbody`, "body empty": "replacebody ", "bodies": "replacebody one\\r\nreplacebody \\ntwo\\r\\n",
		"body with dots": `replacebody .\r\n..\r\n`, "body and header": "addheader X-New: 1\nreplacebody new\\r\\n\naddheader X-Last: 2",
		"body twice": "replacebody one\\r\\n\naddheader X-New: 1\nreplacebody two\\r\\n",
		"from":       "changefrom <new@b.test>", "from bare": "changefrom new@b.test", "from null": "changefrom <>", "from args": "changefrom <new@b.test> RET=HDRS ENVID=abc",
		"from bad args": "changefrom <new@b.test> FOO=1 RET=x",
		"rcpt":          "addrcpt <new@d.test>", "rcpt bare": "addrcpt new@d.test", "rcpt twice": "addrcpt <new@d.test>\naddrcpt <new@d.test>", "rcpt known": "addrcpt <joe@d.test>",
		"rcpt expanded": "addrcpt <list@v.test>", "rcpt args": "addrcptargs <new@d.test> NOTIFY=NEVER ORCPT=rfc822;x@y", "rcpt bad args": "addrcptargs <new@d.test> FOO NOTIFY=sometimes",
		"rcpt null": "addrcpt <>", "rcpt two": "addrcpt <one@d.test>, <two@d.test>", "rcpt local": "addrcpt <new>",
		"exchange rcpt": "delrcpt <joe@d.test>\naddrcpt <new@d.test>", "delete rcpt": "delrcpt <joe@d.test>", "delete rcpt in other case": "delrcpt <JOE@d.test>\naddrcpt <new@d.test>",
		"delete rcpt and add again": "delrcpt <joe@d.test>\naddrcpt <joe@d.test>",
		"null name":                 "addheader : x\nchangeheader 1 : y", "bad index": "changeheader -5 Subject: y", "bad insert index": "insertheader -5 X-New: y",
		"quarantine": "quarantine held for review", "quarantine without reason": "quarantine ", "all": "addheader A: 1\ninsertheader 0 B: 2\nchangefrom <z@b.test>\naddrcpt <q@d.test>\nreplacebody x\\r\\n",
	} {
		out = append(out, scripted{name: "edit: " + name, a: at("eom", answer+"\ncontinue"), steps: letter()})
	}
	for _, last := range []string{"reject", "tempfail", "discard", "accept", "shutdown", "close", "garbage"} {
		out = append(out, scripted{name: "edit, then " + last, a: at("eom", "addheader X-New: 1\nreplacebody x\\r\\n\n"+last), steps: letter()})
	}
	return append(out,
		scripted{name: "edit: recipients of an expansion", a: at("eom", "delrcpt <list@v.test>\ncontinue"),
			steps: []string{"EHLO c", "MAIL FROM:<a@b.test>", "RCPT TO:<list@v.test>", "RCPT TO:<joe@d.test>", "DATA"}},
		scripted{name: "edit too early", a: at("header Subject", "addheader X: 1\ncontinue"), steps: letter()},
		scripted{name: "edit with bytes too many", a: at("eom", `raw \0\0\0\nhX\0v\0more.`), steps: letter()},
	)
}

// checkCases are headers that milter_header_checks object to.
func checkCases() []scripted {
	var out []scripted
	for name, answer := range map[string]string{
		"reject": "addheader X-Check-REJECT: 1", "discard": "addheader X-Check-DISCARD: 1", "hold": "addheader X-Check-HOLD: 1",
		"ignore": "addheader X-Check-IGNORE: 1", "warn": "insertheader 0 X-Check-WARN: 1", "info": "changeheader 1 X-Check-INFO: 1",
		"strip": "addheader X-Check-STRIP: 1", "reject, then more": "addheader X-Check-REJECT: 1\naddheader X: 1\ndelrcpt <joe@d.test>",
	} {
		out = append(out, scripted{name: "check: " + name, a: at("eom", answer+"\ncontinue"), steps: letter()})
	}
	return out
}

// failureCases are filters that fail, by event, failure and default action.
func failureCases() []scripted {
	var out []scripted
	for _, event := range []string{"negotiate", "connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"} {
		for _, failure := range []string{"close", "garbage", "hang"} {
			actions := []string{"accept", "tempfail"}
			if failure == "close" {
				actions = []string{"accept", "tempfail", "reject", "quarantine", "shutdown"}
			}
			for _, action := range actions {
				out = append(out, scripted{
					name: event + " " + failure + ", " + action, settings: []string{"smtpd_milters={ %A, default_action=" + action + ", command_timeout=1s, content_timeout=1s }"},
					a: at(event, failure), steps: letter("MAIL FROM:<next@b.test>"),
				})
			}
		}
	}
	for _, action := range []string{"accept", "tempfail", "reject", "quarantine", "shutdown"} {
		out = append(out, scripted{name: "nobody there, " + action, settings: []string{"smtpd_milters={ %N, default_action=" + action + " }"}, steps: letter()},
			scripted{name: "misconfigured, " + action, settings: []string{"smtpd_milters={ foo:bar, default_action=" + action + " }"}, steps: letter()})
	}
	return append(out,
		scripted{name: "nobody there, then one", settings: []string{"smtpd_milters={ %N, default_action=accept } %A"}, steps: letter()},
		scripted{name: "bad default action", settings: []string{"smtpd_milters={ %N, default_action=whatever }"}, steps: letter()},
		scripted{name: "unreasonable length", a: at("mail", `raw \0\0\0\0`), steps: letter()},
	)
}
