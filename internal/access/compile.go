package access

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postroad/internal/dns"
	"postroad/internal/mail"
	"postroad/internal/policy"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/verify"
)

// maxDepth bounds how deep lists nest: classes in classes, and the words that
// a table gives.
const maxDepth = 100

// list is one compiled restriction list.
type list struct {
	// param is the parameter or the class.
	param string
	rules []rule
}

// rule is one word of a list with its argument.
type rule struct {
	row
	// word is what the administrator wrote, list and index where.
	word  string
	list  *list
	index int
	// maps is the table of a check_..._access, seconds the time of a sleep,
	// class the list of a restriction class.
	maps    *table.Maps
	spec    string
	seconds int
	class   *list
	// dnsList is the list of a rule about one, policy the server of a
	// check_policy_service.
	dnsList *dnsList
	policy  *policy.Client
	// prints are what of a client certificate is looked up, in order; nil is the
	// usual.
	prints []certPrint
	// limit is what a postroad_limit counts.
	limit *limit
	// fault is what is wrong with the rule; it then refuses with 451.
	fault string
}

// compiler makes the lists of an Engine.
type compiler struct {
	e        *Engine
	cfg      *postconf.View
	problems []postconf.Problem
}

// stageTable is what a bare table stands for in each list.
const (
	tableNone      = ""
	tableClient    = "check_client_access"
	tableHelo      = "check_helo_access"
	tableSender    = "check_sender_access"
	tableRecipient = "check_recipient_access"
	tableETRN      = "check_etrn_access"
	tableAddress   = "check_address_map"
)

func (c *compiler) compile() {
	e, s := c.e, &c.e.set
	e.noUserChecks = slices.Contains(s.Overrides, "no_unknown_recipient_checks")
	e.dotParents = !e.parents("smtpd_access_maps")
	e.search = e.deps.Rewrite.AddressSearch()
	e.mynetworks = c.hosts("mynetworks", s.Mynetworks)
	e.permitLog = c.strings("smtpd_log_access_permit_actions", s.LogPermits)
	e.loginMaps = c.maps("smtpd_sender_login_maps", s.LoginMaps)
	e.certMaps = c.maps("relay_clientcerts", s.ClientCerts)
	c.network()
	// A class may name a class that stands further down.
	for _, name := range s.Classes {
		e.classes[strings.ToLower(name)] = &list{param: name}
	}
	e.client = c.list("smtpd_client_restrictions", s.ClientList, tableClient)
	e.helo = c.list("smtpd_helo_restrictions", s.HeloList, tableHelo)
	e.sender = c.list("smtpd_sender_restrictions", s.SenderList, tableSender)
	e.relay = c.list("smtpd_relay_restrictions", s.RelayList, tableRecipient)
	e.recipient = c.list("smtpd_recipient_restrictions", s.RecipientList, tableRecipient)
	e.data = c.list("smtpd_data_restrictions", s.DataList, tableNone)
	e.endOfData = c.list("smtpd_end_of_data_restrictions", s.EndOfDataList, tableNone)
	e.etrn = c.list("smtpd_etrn_restrictions", s.ETRNList, tableETRN)
	for _, name := range s.Classes {
		text, err := c.cfg.Value(name)
		c.check(name, err)
		l := e.classes[strings.ToLower(name)]
		l.rules = c.rules(l, postconf.SplitList(text), tableAny)
	}
	c.checkRelaying()
	e.rewriteClients = c.list("local_header_rewrite_clients", s.RewriteClients, tableAddress)
}

// tableAny stands for the list that a class is used in, which is known only
// when it is evaluated.
const tableAny = "*"

func (c *compiler) list(param string, words []string, bare string) *list {
	l := &list{param: param}
	l.rules = c.rules(l, words, bare)
	return l
}

// rules compiles words. bare is what a table without a word before it means.
func (c *compiler) rules(l *list, words []string, bare string) []rule {
	rules := make([]rule, 0, len(words))
	for i := 0; i < len(words); i++ {
		r := rule{word: words[i], list: l, index: i}
		switch {
		case isTable(words[i]):
			c.bareTable(&r, bare)
		default:
			i += c.word(&r, words[i+1:])
		}
		if r.fault != "" {
			c.problem(l.param, r.fault, c.suggest(&r))
		}
		if (r.name == "permit" || r.name == "reject" || r.name == "defer") && i+1 < len(words) && !c.warned(rules) {
			c.warning(l.param, fmt.Sprintf("restriction `%s' after `%s' is ignored", words[i+1], r.word))
		}
		rules = append(rules, r)
	}
	return rules
}

// warned tells whether the rule that comes next is under warn_if_reject.
func (c *compiler) warned(rules []rule) bool {
	return len(rules) > 0 && rules[len(rules)-1].name == warnIfReject
}

// isTable tells whether a word is "type:table".
func isTable(word string) bool { return strings.IndexByte(word, ':') >= 0 }

// specifyOne is what to do about a table without a word before it.
const specifyOne = "specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, " +
	"check_sender_access, check_recipient_access, check_etrn_access)"

// bareTable compiles a table without a word before it.
func (c *compiler) bareTable(r *rule, bare string) {
	switch bare {
	case tableNone:
		r.fault = fmt.Sprintf("%s before restriction %q", specifyOne, r.word)
		r.row = row{name: r.word, run: bareError}
	case tableAny:
		r.row = row{name: r.word, arg: argTable, run: runBareTable}
		c.table(r, r.word)
	default:
		r.row = c.e.words[bare]
		c.table(r, r.word)
	}
}

// word compiles a word with its argument and returns how many more words it
// took.
func (c *compiler) word(r *rule, rest []string) int {
	row, known := c.e.words[strings.ToLower(r.word)]
	if !known {
		if class, ok := c.e.classes[strings.ToLower(r.word)]; ok {
			r.row, r.class = rowOfClass(r.word), class
			return 0
		}
		r.row = rowOfUnknown(r.word)
		r.fault = fmt.Sprintf("unknown smtpd restriction: %q", r.word)
		return 0
	}
	r.row = row
	took := 0
	switch row.arg {
	case argTable:
		if len(rest) == 0 || !isTable(rest[0]) {
			r.fault = fmt.Sprintf("restriction %s must be followed by type:table", r.word)
			break
		}
		took = 1
		c.table(r, rest[0])
	case argSeconds:
		n := 0
		if len(rest) > 0 {
			n, took = parseSeconds(rest[0])
		}
		if took == 0 {
			r.fault = fmt.Sprintf("restriction %s must be followed by number", r.word)
		}
		r.seconds = n
	case argDomain:
		if len(rest) == 0 {
			r.fault = fmt.Sprintf("restriction %s requires domain name argument", r.word)
			break
		}
		took = 1
		c.dnsList(r, rest[0])
	case argServer:
		if len(rest) == 0 || !isTable(rest[0]) {
			r.fault = fmt.Sprintf("restriction %s must be followed by transport:server", r.word)
			break
		}
		took = 1
		c.policy(r, rest[0])
	case argLimit:
		if len(rest) == 0 {
			r.fault = fmt.Sprintf("restriction %s must be followed by { key number/period ... }", r.word)
			break
		}
		took = 1
		c.limit(r, rest[0])
	}
	if row.status == removed {
		r.fault = fmt.Sprintf("support for restriction %q has been removed", r.word)
	}
	if r.fault != "" {
		r.run = configError
	}
	return took
}

// network prepares what has to do with the DNS and with policy servers.
func (c *compiler) network() {
	e, s := c.e, &c.e.set
	e.rblReplies = c.maps("rbl_reply_maps", s.RBLReplies)
	e.backupNetworks = c.hosts("permit_mx_backup_networks", s.BackupNetworks)
	e.expansion = postconf.NewCharset(postconf.Unescape(s.ExpansionFilter))
	e.family = familyOf(s.Protocols)
	if m := c.maps("smtpd_dns_reply_filter", s.ReplyFilter); !m.Empty() {
		e.deps.DNS = &replyFilter{e.deps.DNS, &table.DNSFilter{Maps: m, Log: e.deps.Log}}
	}
	e.requests.New = func() any { return &policy.Request{} }
	e.policies = map[string]*policy.Client{}
	e.stressPolls = s.PollCount
	if n, err := c.cfg.With("stress", "yes").Int("address_verify_poll_count"); err == nil && s.Stress == "" {
		e.stressPolls = int(n)
	}
	e.probeSender = verify.Sender{Address: mail.Address(s.ProbeSender), TTL: s.ProbeSenderTTL}
	if s.ProbeSender == "<>" {
		e.probeSender.Address = ""
	} else if s.ProbeSender != "" {
		e.probeSender.Address = e.deps.Rewrite.Rewrite(rewrite.Local, s.ProbeSender)
	}
}

// familyOf is the address family that inet_protocols leaves.
func familyOf(protocols []string) dns.Family {
	four, six := slices.Contains(protocols, "ipv4"), slices.Contains(protocols, "ipv6")
	switch {
	case slices.Contains(protocols, "all") || four == six:
		return dns.Any
	case four:
		return dns.IPv4
	}
	return dns.IPv6
}

// dnsList reads the argument of a rule about a list in the DNS.
func (c *compiler) dnsList(r *rule, spec string) {
	l, err := parseDNSList(spec)
	if err != nil {
		r.fault = "RBL reply error: " + err.Error()
		return
	}
	r.spec, r.dnsList = spec, l
}

// policy finds or makes the client of a policy server.
func (c *compiler) policy(r *rule, spec string) {
	r.spec = spec
	if r.policy = c.e.policies[spec]; r.policy != nil {
		return
	}
	s := &c.e.set
	cfg, err := policy.Parse(spec, policy.Config{
		Timeout: s.PolicyTimeout, MaxIdle: s.PolicyIdle, MaxTTL: s.PolicyTTL, RequestLimit: s.PolicyRequests,
		TryLimit: s.PolicyTries, RetryDelay: s.PolicyRetry, DefaultAction: s.PolicyDefault, Context: s.PolicyContext,
	})
	if err != nil {
		r.fault = err.Error()
		return
	}
	r.policy = policy.New(cfg, policy.Options{QueueDir: s.QueueDirectory, MaxConns: s.ProcessLimit, UTF8: s.SMTPUTF8})
	c.e.policies[spec] = r.policy
}

// maxSleep bounds a sleep restriction; a longer one would outlive any client.
const maxSleep = 600

// parseSeconds reads the argument of sleep.
func parseSeconds(s string) (seconds, took int) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, 0
	}
	return min(n, maxSleep), 1
}

// table opens the table of a rule. Braces hold a table with attributes.
func (c *compiler) table(r *rule, spec string) {
	if inner, ok := strings.CutPrefix(spec, "{"); ok {
		words := postconf.SplitList(strings.TrimSuffix(inner, "}"))
		if len(words) > 0 {
			spec = words[0]
			c.searchOrder(r, words[1:])
		}
	}
	if r.fault != "" {
		return
	}
	r.spec = spec
	m, err := c.e.deps.Tables.Maps(r.list.param, []string{spec})
	if err != nil {
		r.fault, r.run = err.Error(), configError
		return
	}
	r.maps = m
}

// searchOrder reads "{ search_order = cert_fingerprint, pubkey_fingerprint }" behind
// the table of check_ccert_access.
func (c *compiler) searchOrder(r *rule, options []string) {
	for _, option := range options {
		name, value, _ := strings.Cut(strings.Trim(option, "{} \t"), "=")
		if name = strings.TrimSpace(name); name != "search_order" || r.name != "check_ccert_access" {
			r.fault = fmt.Sprintf("unexpected attribute %s of %s", name, r.word)
			return
		}
		r.prints = nil
		for _, word := range postconf.SplitList(value) {
			of, ok := certPrints[strings.ToLower(word)]
			if !ok {
				r.fault = fmt.Sprintf("bad search_order %q of %s: not one of cert_fingerprint, pubkey_fingerprint", word, r.word)
				return
			}
			r.prints = append(r.prints, of)
		}
	}
}

func (c *compiler) maps(param string, specs []string) *table.Maps {
	m, err := c.e.deps.Tables.Maps(param, specs)
	c.check(param, err)
	return m
}

func (c *compiler) hosts(param string, items []string) *table.MatchList {
	l, err := c.e.deps.Tables.HostList(param, items, c.e.parents(param))
	c.check(param, err)
	return l
}

func (c *compiler) strings(param string, items []string) *table.MatchList {
	l, err := c.e.deps.Tables.StringList(param, items)
	c.check(param, err)
	return l
}

// check reports an error as a fatal problem.
func (c *compiler) check(param string, err error) {
	if err != nil {
		c.add(param, postconf.Problem{Fatal: true, Text: err.Error()})
	}
}

// problem reports something that makes mail be refused with 451.
func (c *compiler) problem(param, text, suggestion string) {
	c.add(param, postconf.Problem{Text: param + ": " + text, Suggestion: suggestion})
}

// warning reports something that has no effect on mail.
func (c *compiler) warning(param, text string) {
	c.add(param, postconf.Problem{Text: param + ": " + text})
}

// add fills in where the parameter is set.
func (c *compiler) add(param string, p postconf.Problem) {
	_, p.Origin, _ = c.cfg.Raw(param)
	c.problems = append(c.problems, p)
}

// relayStops are the rules of which the relay or the recipient list must have
// one.
var relayStops = []string{
	"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit",
}

// checkRelaying makes sure that strangers cannot send everywhere.
func (c *compiler) checkRelaying() {
	if c.stops(c.e.relay, 0) || c.stops(c.e.recipient, 0) {
		return
	}
	c.e.unsafe = true
	c.add("smtpd_relay_restrictions", postconf.Problem{
		Fatal: true,
		Text: "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working " +
			"instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains",
	})
}

// stops looks for a rule against relaying that is not under warn_if_reject nor
// behind permit.
func (c *compiler) stops(l *list, depth int) bool {
	for i := 0; i < len(l.rules); i++ {
		r := &l.rules[i]
		switch {
		case r.name == warnIfReject:
			i++
		case r.name == "permit":
			return false
		case slices.Contains(relayStops, r.name):
			return true
		case r.class != nil && depth < maxDepth && c.stops(r.class, depth+1):
			return true
		}
	}
	return false
}
