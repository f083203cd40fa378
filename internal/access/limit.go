package access

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postroad/internal/event"
	"postroad/internal/limits"
	"postroad/internal/mail"
	"postroad/internal/table"
)

// limit is a compiled postroad_limit.
type limit struct {
	*limits.Rule
	// keys gives the key for the attribute, own the windows of a key.
	keys, own *table.Maps
	exempt    *table.MatchList
}

// limit reads the argument of a postroad_limit.
func (c *compiler) limit(r *rule, text string) {
	r.spec = text
	parsed, err := limits.Parse(text)
	if err != nil {
		r.fault = "restriction " + r.word + ": " + err.Error()
		return
	}
	l := &limit{Rule: parsed}
	tables := c.e.deps.Tables
	open := func(to **table.Maps, spec string) {
		if spec != "" && err == nil {
			*to, err = tables.Maps(r.list.param, []string{spec})
		}
	}
	open(&l.keys, parsed.Map)
	open(&l.own, parsed.Limits)
	if len(parsed.Exempt) > 0 && err == nil {
		l.exempt, err = tables.HostList(r.list.param, parsed.Exempt, c.e.parents("mynetworks"))
	}
	if err != nil {
		r.fault = err.Error()
		return
	}
	r.limit = l
}

// charge is something that was counted.
type charge struct{ rule, key string }

// charges are what was counted: a message counts once for a transaction, a recipient
// once for a command, however many lists have the rule.
type charges struct{ transaction, command map[charge]bool }

// maxCharges bounds what is remembered; what comes after it may count again.
const maxCharges = 10_000

// has tells whether something was counted.
func (s *charges) has(recipients bool, what charge) bool {
	if recipients {
		return s.command[what]
	}
	return s.transaction[what]
}

// add notes that something was counted.
func (s *charges) add(recipients bool, what charge) {
	to := &s.transaction
	if recipients {
		to = &s.command
	}
	if *to == nil {
		*to = map[charge]bool{}
	}
	if len(*to) < maxCharges {
		(*to)[what] = true
	}
}

// errNoLimits stands for counters that are not there.
var errNoLimits = errors.New("there are no counters")

// checkLimit counts the command and does what the rule says when there is no room
// for it.
func checkLimit(c *Checker, r *rule) outcome {
	l := r.limit
	n := c.events(l.Recipients)
	key, about := c.limitKey(l)
	if n == 0 || key == "" {
		return dunno
	}
	if l.exempt != nil {
		client := &c.req.Session.Client
		exempt, err := l.exempt.MatchHost(c.ctx, client.Name, client.Addr)
		if err != nil {
			return c.limitFailed(about, err)
		}
		if exempt {
			c.note = "exempt"
			return dunno
		}
	}
	if !l.keys.Empty() {
		c.datum = key
		hit, err := l.keys.Lookup(c.ctx, key)
		if err != nil {
			return c.limitFailed(about, err)
		}
		if !hit.Found {
			return dunno
		}
		key = strings.ToLower(hit.Value)
	}
	windows, err := c.limitWindows(l, key)
	if err != nil {
		return c.limitFailed(about, err)
	}
	c.key = key
	if len(windows) == 0 {
		c.note = limits.Unlimited
		return dunno
	}
	return c.charge(r, charge{l.Name, key}, windows, n, about)
}

// charge asks the counters.
func (c *Checker) charge(r *rule, what charge, windows []limits.Window, n int, about scope) outcome {
	counters, l := c.e.deps.Limits, r.limit
	if counters == nil {
		return c.limitFailed(about, errNoLimits)
	}
	if c.charged.has(l.Recipients, what) {
		return dunno
	}
	used, full := counters.Ask(what.rule, what.key, windows, n, c.trace == nil)
	if c.trace != nil {
		c.note = usedText(used)
	}
	if full == nil {
		c.charged.add(l.Recipients, what)
		return dunno
	}
	c.logLimit(l, what.key, full)
	c.datum = what.key
	action := l.Action
	if action == "" {
		action = "450 4.7.1 Too many " + l.Unit() + ", try again later"
	}
	return c.apply(r, action, about)
}

// usedText says how much is used.
func usedText(used []limits.Use) string {
	out := make([]string, len(used))
	for i, u := range used {
		out[i] = fmt.Sprintf("%d of %s", u.Used, u.Window)
	}
	return strings.Join(out, ", ")
}

// logLimit says that a limit has no room.
func (c *Checker) logLimit(l *limit, key string, full *limits.Use) {
	if c.trace != nil {
		return
	}
	r := c.req
	r.Log.Emit(&event.LimitReached{Rule: l.Name, Decision: event.Decision{
		ID: r.QueueID, Action: "limit", State: r.Stage, Client: r.Session.Client.String(),
		Said: fmt.Sprintf("%s <%s>: %s of %s (%s)", l.Key, key, countOf(full.Used, l), full.Window, l.Name),
		From: r.Sender.External(), HasFrom: r.HasSender, To: r.Recipient.External(), HasTo: r.Recipient != "",
		Proto: r.Session.Proto(), Helo: r.Helo, SASL: r.Session.SASL,
	}})
}

// countOf is a number with what it counts.
func countOf(n int, l *limit) string { return strconv.Itoa(n) + " " + l.Unit() }

// limitFailed is the answer when it cannot be found out whether there is room.
func (c *Checker) limitFailed(about scope, err error) outcome {
	c.warnf("postroad_limit: %v", err)
	return c.rejectFor(byFailure, mail.Status{Code: 451, Enhanced: "4.3.0", Text: "<" + about.subject + ">: Temporary lookup failure"}, err)
}

// events is how many events a command is. Before MAIL there is no message, and VRFY
// and ETRN bring none.
func (c *Checker) events(recipients bool) int {
	r := c.req
	switch {
	case !r.HasSender || r.Stage == "VRFY" || r.Stage == "ETRN":
		return 0
	case !recipients || r.Stage == "RCPT":
		return 1
	case r.Stage == "DATA" || r.Stage == "BDAT" || r.Stage == afterContent:
		return r.RcptCount
	}
	return 0
}

// limitKey is the attribute that a rule counts by, empty when there is none, and
// what a refusal speaks about.
func (c *Checker) limitKey(l *limit) (string, scope) {
	r := c.req
	lower := func(a mail.Address) string { return strings.ToLower(string(a)) }
	domain := func(a mail.Address) string {
		_, name, _ := cutAddress(lower(a))
		return name
	}
	switch l.Key {
	case "sasl_username":
		user := c.login()
		return strings.ToLower(user), scope{printable(user, len(user)), classSASL, c.scope.bare}
	case "client_address":
		return c.limitNetwork(l), c.clientScope()
	case "sender":
		if r.Sender == "" {
			return "<>", c.senderScope()
		}
		return lower(r.Sender), c.senderScope()
	case "sender_domain":
		return domain(r.Sender), c.senderScope()
	case "recipient":
		return lower(r.Recipient), c.recipientScope()
	}
	return domain(r.Recipient), c.recipientScope()
}

// limitNetwork is the client, or its network.
func (c *Checker) limitNetwork(l *limit) string {
	addr := c.addr()
	if !addr.IsValid() {
		return ""
	}
	bits := l.V6
	if bits == 0 {
		bits = c.e.set.PrefixV6
	}
	if addr.Is4() {
		if bits = l.V4; bits == 0 {
			bits = c.e.set.PrefixV4
		}
	}
	p, err := addr.Prefix(min(max(bits, 0), addr.BitLen()))
	if err != nil || p.IsSingleIP() {
		return addr.WithZone("").String()
	}
	return p.String()
}

// limitWindows are the windows of a key: those of the rule, unless the table has
// others for the key or for its domain; none means no limit.
func (c *Checker) limitWindows(l *limit, key string) ([]limits.Window, error) {
	if l.own.Empty() {
		return l.Windows, nil
	}
	hit, err := l.own.Lookup(c.ctx, key)
	if at := strings.LastIndexByte(key, '@'); err == nil && !hit.Found && at > 0 {
		hit, err = l.own.LookupFixed(c.ctx, key[at:])
	}
	if err != nil || !hit.Found {
		return l.Windows, err
	}
	if strings.EqualFold(hit.Value, limits.Unlimited) {
		return nil, nil
	}
	windows, err := limits.ParseWindows(hit.Value)
	if err == nil && len(windows) == 0 {
		err = errors.New("no limit in \"" + hit.Value + "\"")
	}
	if err != nil {
		return nil, fmt.Errorf("table %s has for %s: %w", l.Limits, hit.Key, err)
	}
	return windows, nil
}
