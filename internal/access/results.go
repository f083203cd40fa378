package access

import (
	"slices"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
)

// result is one action of access(5). text is what follows the word.
type result struct {
	name string
	run  func(c *Checker, a *action) outcome
}

// action is what a table said: value is the whole of it.
type action struct {
	rule *rule
	// name is the word in upper case, word as it was written.
	name, word, text string
	value            string
	about            scope
}

// results returns the actions of access(5). They are a function because a
// result may be a list of restrictions again.
func results() []result {
	return []result{
		{"REJECT", actReject},
		{"DEFER", actDefer},
		{"DEFER_IF_PERMIT", actDeferIfPermit},
		{"DEFER_IF_REJECT", actDeferIfReject},
		{"OK", actOK},
		{"RELAY", actOK},
		{"DUNNO", func(*Checker, *action) outcome { return dunno }},
		{"INFO", actInfo},
		{"WARN", actWarn},
		{"HOLD", actHold},
		{"DISCARD", actDiscard},
		{"HANGUP", actHangup},
		{"FILTER", actFilter},
		{"REDIRECT", actRedirect},
		{"BCC", actBCC},
		{"PREPEND", actPrepend},
	}
}

// apply does what a table says about a subject.
func (c *Checker) apply(r *rule, value string, about scope) outcome {
	word, text, _ := strings.Cut(value, " ")
	if i := strings.IndexByte(word, '\t'); i >= 0 {
		word, text = value[:i], value[i+1:]
	}
	a := action{rule: r, name: strings.ToUpper(word), word: word, text: strings.TrimLeft(text, " \t"), value: value, about: about}
	c.said.result = value
	if act, ok := c.e.results[a.name]; ok {
		return act(c, &a)
	}
	switch {
	case isDigits(value):
		return actOK(c, &a)
	case len(word) == 3 && a.text != "" && (word[0] == '4' || word[0] == '5') && isDigits(word):
		return c.actCode(&a)
	}
	return c.applyList(&a)
}

// isDigits tells whether s is one or more digits.
func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// refusalOf makes the reply of an action: its text may begin with an enhanced
// status code.
func (c *Checker) refusalOf(a *action, code int, enhanced, text string) mail.Status {
	given := a.text
	if n := rewrite.EnhancedLen(given); n > 0 {
		enhanced, given = given[:n], strings.TrimLeft(given[n:], " \t")
	}
	if given != "" {
		text = given
	}
	return mail.Status{Code: code, Enhanced: c.fixDSN(enhanced, a.about.class), Text: a.about.rejected(text)}
}

func actReject(c *Checker, a *action) outcome {
	return c.reject(byPolicy, c.refusalOf(a, c.e.set.MapRejectCode, "5.7.1", "Access denied"))
}

func actDefer(c *Checker, a *action) outcome {
	return c.reject(byPolicy, c.refusalOf(a, c.e.set.MapDeferCode, "4.7.1", "Access denied"))
}

func actDeferIfPermit(c *Checker, a *action) outcome {
	return c.holdBack(&c.ifPermit, c.refusalOf(a, c.e.set.MapDeferCode, "4.7.1", "Service unavailable"), nil)
}

func actDeferIfReject(c *Checker, a *action) outcome {
	return c.holdBack(&c.ifReject, c.refusalOf(a, c.e.set.MapDeferCode, "4.7.1", "Service unavailable"), nil)
}

// actCode refuses with a reply code of the table's own.
func (c *Checker) actCode(a *action) outcome {
	code := int(a.name[0]-'0')*100 + int(a.name[1]-'0')*10 + int(a.name[2]-'0')
	return c.reject(byPolicy, c.refusalOf(a, code, a.name[:1]+".7.1", "Access denied"))
}

func actOK(c *Checker, a *action) outcome {
	return c.allowFrom(a.word, a.about, "from "+a.rule.spec)
}

// actHangup drops the connection without a word. Postfix has it for its own
// tests.
func actHangup(c *Checker, a *action) outcome {
	c.log("hangup", mail.Status{Text: a.text})
	c.verdict = c.ruled(mail.Hangup)
	return refuse
}

func actInfo(c *Checker, a *action) outcome {
	c.log("info", mail.Status{Text: a.text})
	return dunno
}

func actWarn(c *Checker, a *action) outcome {
	c.log("warn", mail.Status{Text: a.text})
	return dunno
}

// triggered logs that an action took place.
func (c *Checker) triggered(word string, a *action, text string) {
	c.log(word, mail.Status{Text: "<" + a.about.subject + ">: " + a.about.class + " " + text})
}

func actHold(c *Checker, a *action) outcome {
	if !c.forMessage(a) || c.actions.Hold {
		return dunno
	}
	text := a.text
	if text == "" {
		text = "triggers HOLD action"
	}
	c.triggered("hold", a, text)
	c.actions.Hold = true
	return dunno
}

func actDiscard(c *Checker, a *action) outcome {
	if !c.forMessage(a) {
		return dunno
	}
	text := a.text
	if text == "" {
		text = "triggers DISCARD action"
	}
	c.triggered("discard", a, text)
	c.actions.Discard = true
	c.discarded = c.ruled(mail.Discard)
	return c.allowFrom(a.word, a.about, "from "+a.rule.spec)
}

func actFilter(c *Checker, a *action) outcome {
	if !c.forMessage(a) {
		return dunno
	}
	switch {
	case a.text == "":
		c.warnf("access table %s entry \"%s\" has FILTER entry without value", a.rule.spec, c.datum)
	case !strings.Contains(a.text, ":"):
		c.warnf("access table %s entry \"%s\" requires transport:destination", a.rule.spec, c.datum)
	default:
		c.triggered("filter", a, "triggers FILTER "+a.text)
		c.actions.Filter = a.text
	}
	return dunno
}

func actRedirect(c *Checker, a *action) outcome {
	if c.forMessage(a) && c.hasTarget(a) {
		c.triggered("redirect", a, "triggers REDIRECT "+a.text)
		c.actions.Redirect = mail.Address(a.text)
	}
	return dunno
}

// maxAdded bounds how many addresses or headers the tables may add.
const maxAdded = 100

func actBCC(c *Checker, a *action) outcome {
	if c.forMessage(a) && c.hasTarget(a) && len(c.actions.BCC) < maxAdded {
		c.triggered("bcc", a, "triggers BCC "+a.text)
		c.actions.BCC = append(c.actions.BCC, mail.Address(a.text))
	}
	return dunno
}

// hasTarget warns about an action without an address.
func (c *Checker) hasTarget(a *action) bool {
	if strings.Contains(a.text, "@") {
		return true
	}
	c.warnf("access table %s entry \"%s\" requires user@domain target", a.rule.spec, c.datum)
	return false
}

func actPrepend(c *Checker, a *action) outcome {
	switch {
	case !c.mayTouch(a):
	case c.req.Stage == afterContent:
		c.warnf("access table %s: action PREPEND must be used before %s", a.rule.spec, "smtpd_end_of_data_restrictions")
	case !isHeader(a.text):
		c.warnf("access table %s entry \"%s\" requires header: text", a.rule.spec, c.datum)
	case len(c.actions.Prepend) < maxAdded:
		c.actions.Prepend = append(c.actions.Prepend, a.text)
	}
	return dunno
}

// isHeader tells whether s begins with a field name and a colon (RFC 5322 2.2).
func isHeader(s string) bool {
	name, _, found := strings.Cut(s, ":")
	name = strings.TrimRight(name, " \t")
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return found && name != ""
}

// forMessage tells whether an action on the message is possible here.
func (c *Checker) forMessage(a *action) bool {
	if c.e.set.ProxyFilter != "" {
		c.warnf("access table %s: with smtpd_proxy_filter specified, action %s is unavailable", a.rule.spec, a.name)
		return false
	}
	if a.about.class == classETRN {
		c.warnf("access table %s: action %s is unavailable in smtpd_etrn_restrictions", a.rule.spec, a.name)
		return false
	}
	return c.mayTouch(a)
}

// mayTouch tells whether there can be a message at this stage.
func (c *Checker) mayTouch(a *action) bool {
	if c.e.set.DelayReject || a.about.class != classClient && a.about.class != classReverse && a.about.class != classHelo {
		return true
	}
	c.warnf("access table %s: with smtpd_delay_reject=no, action %s is always skipped in Client host or Helo command restrictions",
		a.rule.spec, a.name)
	return false
}

// maxWords bounds the list of restrictions that a table may give.
const maxWords = 100

// applyList evaluates a result that is a list of restrictions.
func (c *Checker) applyList(a *action) outcome {
	words := postconf.SplitList(a.value)
	if len(words) == 0 {
		// In the dark ages nothing meant OK.
		c.warnf("access table %s entry %s has empty value", a.rule.spec, a.value)
		return permit
	}
	if len(words) > maxWords {
		c.warnf("access table %s has entry with more than %d restrictions", a.rule.spec, maxWords)
		return c.serverError()
	}
	if slices.ContainsFunc(words, isTable) {
		c.warnf("access table %s has entry with lookup table: %s", a.rule.spec, a.value)
		c.warnf("do not specify lookup tables inside SMTPD access maps")
		c.warnf("define a restriction class and specify its name instead.")
		return c.serverError()
	}
	l := &list{param: a.rule.list.param + " " + a.rule.spec, rules: make([]rule, 0, len(words))}
	for i := 0; i < len(words); i++ {
		r := rule{word: words[i], list: l, index: i}
		comp := compiler{e: c.e}
		i += comp.word(&r, words[i+1:])
		l.rules = append(l.rules, r)
	}
	return c.run(l, a.about)
}
