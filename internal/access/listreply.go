package access

import (
	"strconv"
	"strings"
	"time"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
)

// refuseListed refuses what is on a list, with the words of rbl_reply_maps or
// default_rbl_reply.
func (c *Checker) refuseListed(r *rule, found listing, what, class string) outcome {
	if found.state != listed {
		return dunno
	}
	template, err := c.replyTemplate(r.dnsList)
	if err != nil {
		return c.serverError() // the table has said why
	}
	m := macros{c: c, list: r.dnsList, text: found.text, what: what, class: class}
	reply, good := "", false
	if template != "" {
		if reply, good = m.expand(template); !good {
			c.warnf("rbl_reject_reply: bad rbl reply template for domain %s: %s", r.dnsList.spec, template)
		}
	}
	if !good {
		if reply, good = m.expand(c.e.set.RBLReply); !good {
			c.warnf("bad default rbl reply template: %s", c.e.set.RBLReply)
			return c.serverError()
		}
	}
	return c.reject(byPolicy, c.listReply(reply, class))
}

// replyTemplate searches rbl_reply_maps for the list as it is written in the
// restriction, and then without its filter.
func (c *Checker) replyTemplate(l *dnsList) (string, error) {
	if c.e.rblReplies.Empty() {
		return "", nil
	}
	hit, err := c.e.rblReplies.Lookup(c.ctx, l.spec)
	if err == nil && !hit.Found && l.domain != l.spec {
		hit, err = c.e.rblReplies.Lookup(c.ctx, l.domain)
	}
	return hit.Value, err
}

// listReply reads an expanded template: "code [enhanced] text".
func (c *Checker) listReply(reply, class string) mail.Status {
	if len(reply) < 4 || reply[0] != '4' && reply[0] != '5' || !isDigits(reply[:3]) || reply[3] != ' ' {
		c.warnf("rbl response code configuration error: %s", reply)
		return mail.Status{Code: 450, Enhanced: "4.7.1", Text: "Service unavailable"}
	}
	st := mail.Status{
		Code: int(reply[0]-'0')*100 + int(reply[1]-'0')*10 + int(reply[2]-'0'), Enhanced: "4.7.1",
		Text: strings.TrimLeft(reply[4:], " \t"),
	}
	if n := rewrite.EnhancedLen(st.Text); n > 0 {
		st.Enhanced, st.Text = st.Text[:n], strings.TrimLeft(st.Text[n:], " \t")
	}
	if st.Text == "" {
		st.Text = "Service unavailable"
	}
	st.Enhanced = c.fixDSN(st.Enhanced, class)
	return st
}

// macros are the $names of a reply about a list.
type macros struct {
	c                 *Checker
	list              *dnsList
	text, what, class string
}

// expand fills in a template. A value loses the characters that
// smtpd_expansion_filter does not list; an unknown name makes the template bad.
func (m *macros) expand(template string) (string, bool) {
	good := true
	out, err := postconf.ExpandOnce(template, func(name string) (string, bool) {
		value, known := m.lookup(name)
		if !known {
			m.c.warnf("unknown macro name \"%s\" in expansion request", name)
			good = false
		}
		return m.c.e.expansion.Clean(value), known
	})
	return out, good && err == nil
}

func (m *macros) lookup(name string) (string, bool) {
	switch name {
	case "rbl_code":
		return strconv.Itoa(m.c.e.set.RBLCode), true
	case "rbl_domain":
		return m.list.domain, true
	case "rbl_reason", "rbl_txt":
		return m.text, true
	case "rbl_what":
		return m.what, true
	case "rbl_class":
		return m.class, true
	}
	return m.c.req.Macro(name, m.c.e.deps.Rewrite.Myhostname())
}

// Macro is a $name about the session, in a text for the client of the server
// hostname. It tells whether there is such a name.
func (r *Request) Macro(name, hostname string) (string, bool) {
	p := &r.Session.Client
	switch name {
	case "server_name":
		return hostname, true
	case "client":
		return p.String(), true
	case "client_port":
		return portString(p.Port), true
	case "client_address":
		return p.AddrString(), true
	case "client_name":
		return p.Name, true
	case "reverse_client_name":
		return p.ReverseName, true
	case "helo_name":
		return r.Helo, true
	case "localtime":
		return time.Now().Format("Jan 02 15:04:05"), true
	}
	if suffix, ok := strings.CutPrefix(name, "sender"); ok {
		return addressMacro(r.Sender, r.HasSender, suffix)
	}
	if suffix, ok := strings.CutPrefix(name, "recipient"); ok {
		return addressMacro(r.Recipient, r.Recipient != "", suffix)
	}
	return "", false
}

// addressMacro is a part of an address: all of it, "_name" or "_domain".
func addressMacro(a mail.Address, present bool, suffix string) (string, bool) {
	local, domain, _ := cutAddress(string(a))
	null := "<>"
	if !present {
		null = ""
	}
	switch {
	case suffix == "" && a == "", suffix == "_name" && a == "":
		return null, true
	case suffix == "":
		return string(a), true
	case suffix == "_name":
		return local, true
	case suffix == "_domain":
		return domain, true
	}
	return "", false
}

// cutAddress splits an address at its last "@".
func cutAddress(a string) (local, domain string, found bool) {
	at := strings.LastIndexByte(a, '@')
	if at < 0 {
		return a, "", false
	}
	return a[:at], a[at+1:], true
}
