package sweep

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"postroad/internal/postconf"
)

// Plan is all that a box needs to serve a configuration and to ask it.
type Plan struct {
	Name string
	// Files are the files to write, in order of their paths.
	Files []File
	// Maps are the tables to build: arguments of postmap; Aliases those of postalias.
	Maps, Aliases []string
	// Zone is the DNS, Hosts the names that /etc/hosts needs.
	Zone  string
	Hosts []string
	// Policies and Milters are the endpoints that the test serves.
	Policies, Milters []Endpoint
	// Sessions are the questions.
	Sessions []Session
}

// File is one file of a plan.
type File struct{ Path, Text string }

// Endpoint is a socket: network "tcp" or "unix".
type Endpoint struct{ Network, Address string }

// stager makes a plan from a configuration.
type stager struct {
	*Plan
	cfg   *postconf.Config
	views []*postconf.View
	rnd   *rand.Rand
	text  map[string]string // the files so far
	names names
	seen  map[string]bool
	lists map[string]bool // of the DNS
}

// names are the domains of a configuration.
type names struct {
	// domain is its own; local is one of mydestination.
	domain, host, local                   string
	box, aliased, relayed, broken, absent string
}

// Stage makes the plan of a configuration, with n sessions from the seed.
func Stage(c *Config, seed uint64, n int) *Plan {
	main, master := serveMain(c.Main), serveMaster(c.Master)
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Name)) // a hash takes everything
	s := &stager{Plan: &Plan{Name: c.Name}, cfg: view(main, master), text: map[string]string{}, seen: map[string]bool{}, lists: map[string]bool{}}
	s.rnd = rand.New(rand.NewPCG(seed, h.Sum64()))
	for path, text := range c.Files {
		s.text["/etc/postfix/"+path] = asText(text)
	}
	s.text["/etc/postfix/main.cf"], s.text["/etc/postfix/master.cf"] = main, master
	s.text["/etc/aliases"] = "postmaster: root\nroot: alice\ninfo: alice, bob\nlist: :include:/etc/no-such-list\n"
	s.Aliases = []string{"hash:/etc/aliases"}
	s.views = append(s.views, s.cfg.View(nil))
	for _, service := range s.cfg.Active() {
		if service.Program() == "smtpd" {
			s.views = append(s.views, s.cfg.View(service))
		}
	}
	s.domains()
	for _, v := range s.views {
		s.parameters(v)
	}
	s.zone()
	s.sessions(n)
	for path := range s.text {
		s.Files = append(s.Files, File{path, s.text[path]})
	}
	sort.Slice(s.Files, func(i, j int) bool { return s.Files[i].Path < s.Files[j].Path })
	return s.Plan
}

// domains finds the names that the configuration calls its own.
func (s *stager) domains() {
	value := func(name, otherwise string) string {
		v, err := s.views[0].Value(name)
		if v = strings.TrimSpace(v); err != nil || v == "" || !strings.Contains(v, ".") {
			return otherwise
		}
		return v
	}
	n := &s.names
	n.host = value("myhostname", "mx.example.test")
	n.domain = value("mydomain", "example.test")
	n.local = n.host
	for _, d := range postconf.SplitList(value("mydestination", n.host)) {
		if strings.Contains(d, ".") && !strings.ContainsAny(d, ":/") {
			n.local = d
		}
	}
	n.box, n.aliased, n.relayed = "mbox."+n.domain, "valias."+n.domain, "relayed."+n.domain
	n.broken, n.absent = "broken."+n.domain, "absent."+n.domain
}

// tableName finds tables in a value.
var tableName = regexp.MustCompile(`\b(texthash|hash|regexp|pcre|cidr):(/[^\s,}]+)`)

// fileName finds the lists that are files.
var fileName = regexp.MustCompile(`(?:^|[\s,])(/[^\s,}]+)`)

// policyAt and filterAt find endpoints; dnsAt finds lists of the DNS.
var (
	policyAt = regexp.MustCompile(`check_policy_service[\s,]+\{?\s*((?:inet|unix):[^\s,}]+)`)
	filterAt = regexp.MustCompile(`(?:^|[\s,{])((?:inet|unix|local):[^\s,}]+)`)
	dnsAt    = regexp.MustCompile(`(?:reject_rbl_client|reject_rhsbl_\w+|permit_dnswl_client|permit_rhswl_client)[\s,]+([\w.-]+)`)
	accessAt = regexp.MustCompile(`check_(client|reverse_client_hostname|helo|sender|recipient|etrn|sasl|ccert|\w+)_access[\s,]+(?:proxy:)?(texthash|hash|regexp|pcre|cidr):(/[^\s,}]+)`)
)

// parameters makes what the values of one service name.
func (s *stager) parameters(v *postconf.View) {
	var all []string
	seen := map[string]bool{}
	take := func(name string) {
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	for _, line := range logical(s.text["/etc/postfix/main.cf"]) {
		if g := paramName.FindStringSubmatch(line); g != nil {
			take(g[1])
		}
	}
	if service := v.Service(); service != nil {
		for _, o := range service.Overrides {
			take(o.Name)
		}
	}
	for _, name := range all {
		value, err := v.Value(name)
		if err != nil {
			continue
		}
		for _, g := range accessAt.FindAllStringSubmatch(value, -1) {
			s.table(g[2], g[3], "access "+g[1])
		}
		for _, g := range tableName.FindAllStringSubmatch(value, -1) {
			s.table(g[1], g[2], name)
		}
		if name == "mynetworks" || strings.HasSuffix(name, "_domains") || name == "mydestination" {
			for _, g := range fileName.FindAllStringSubmatch(value, -1) {
				if _, ok := s.text[g[1]]; !ok && !strings.Contains(value, ":"+g[1]) {
					s.text[g[1]] = s.content("file "+name, g[1])
				}
			}
		}
		for _, g := range policyAt.FindAllStringSubmatch(value, -1) {
			s.endpoint(&s.Policies, g[1])
		}
		if name == "smtpd_milters" {
			for _, g := range filterAt.FindAllStringSubmatch(value, -1) {
				s.endpoint(&s.Milters, g[1])
			}
		}
		for _, g := range dnsAt.FindAllStringSubmatch(value, -1) {
			s.lists[g[1]] = true
		}
	}
}

// table makes a table, if the configuration has it not, and has it built.
func (s *stager) table(kind, path, role string) {
	if s.seen[kind+path] {
		return
	}
	s.seen[kind+path] = true
	alias := strings.HasSuffix(role, "alias_maps") && !strings.Contains(role, "virtual") || role == "alias_database"
	if _, ok := s.text[path]; !ok {
		switch {
		case kind == "hash" && alias:
			s.text[path] = s.text["/etc/aliases"]
		case kind == "regexp" || kind == "pcre":
			s.text[path] = s.patterns(role)
		case kind == "cidr":
			s.text[path] = "198.51.100.64/28 REJECT\n203.0.113.0/25 OK\n2001:db8::/64 DUNNO\n"
		default:
			s.text[path] = s.content(role, path)
		}
	}
	switch {
	case kind == "hash" && alias:
		s.Aliases = append(s.Aliases, "hash:"+path)
	case kind == "hash":
		s.Maps = append(s.Maps, "hash:"+path)
	}
}

// endpoint takes note of a socket that the test is to serve.
func (s *stager) endpoint(list *[]Endpoint, text string) {
	if s.seen[text] {
		return
	}
	s.seen[text] = true
	kind, rest, _ := strings.Cut(text, ":")
	if kind != "inet" {
		if !filepath.IsAbs(rest) {
			rest = "/var/spool/postfix/" + rest
		}
		*list = append(*list, Endpoint{"unix", rest})
		return
	}
	i := strings.LastIndex(rest, ":")
	host, port := "127.0.0.1", rest[i+1:]
	if i > 0 {
		if h := strings.Trim(rest[:i], "[]"); h != "localhost" && h != "127.0.0.1" && !strings.Contains(h, ":") {
			s.Hosts = append(s.Hosts, h)
		}
	}
	if _, err := strconv.Atoi(port); err != nil {
		return // no such service
	}
	*list = append(*list, Endpoint{"tcp", host + ":" + port})
}

// content makes a table by the name of the parameter that uses it.
func (s *stager) content(role, path string) string {
	n := s.names
	switch {
	case role == "file mynetworks":
		return "127.0.0.0/8\n198.51.100.64/28\n"
	case role == "mynetworks":
		return "127.0.0.1 OK\n198.51.100.70 OK\n"
	case strings.HasPrefix(role, "access "):
		return s.accessTable(strings.TrimPrefix(role, "access "))
	case strings.HasSuffix(role, "virtual_alias_domains"):
		return n.aliased + " OK\n"
	case strings.HasSuffix(role, "relay_domains"):
		return n.relayed + " OK\n" + n.broken + " OK\n"
	case strings.HasSuffix(role, "_domains"):
		return n.box + " OK\n" + n.absent + " OK\n"
	case strings.HasSuffix(role, "relay_recipient_maps"):
		return "user1@" + n.relayed + " OK\nuser2@" + n.relayed + " OK\n@" + n.broken + " OK\n"
	case strings.HasSuffix(role, "mailbox_maps"), strings.HasSuffix(role, "recipient_maps"):
		return "user1@" + n.box + " " + n.box + "/user1/\nuser2@" + n.box + " " + n.box + "/user2/\nalice@" + n.local + " alice\n"
	case strings.HasSuffix(role, "virtual_alias_maps"):
		return "alias1@" + n.box + " user1@" + n.box + "\nalias@" + n.aliased + " user2@" + n.box + "\n" + n.aliased + " anything\n"
	case strings.HasSuffix(role, "login_maps"):
		return "user1@" + n.box + " joe\nuser2@" + n.box + " joe,ann\nann@" + n.local + " ann\n@good.test nobody\n"
	case strings.HasSuffix(role, "transport_maps"):
		return n.relayed + " smtp:[192.0.2.10]\n" + n.broken + " error:5.1.2 it is gone\n"
	case strings.HasSuffix(role, "canonical_maps"):
		return "canon@" + n.box + " user1@" + n.box + "\n"
	}
	return "# " + filepath.Base(path) + "\n"
}

// patterns makes a table of patterns.
func (s *stager) patterns(role string) string {
	switch {
	case strings.HasPrefix(role, "access "):
		return "/bad\\.test/ REJECT by pattern\n/(nothere)/ 450 4.7.1 pattern ${1} wait\n/user2/ DUNNO\n"
	case strings.HasSuffix(role, "login_maps"):
		return "/^(.*)@.*$/ ${1}\n"
	}
	return "/no-such-thing-at-all/ DUNNO\n"
}

// accessActions are what tables of access(5) answer. "CLASS" is replaced by a
// class of restrictions, if there is one.
var accessActions = []string{"REJECT", "REJECT not you", "OK", "DUNNO", "DEFER", "450 4.7.1 busy", "550 5.7.9 never", "DEFER_IF_PERMIT wait", "DEFER_IF_REJECT no",
	"WARN look", "PREPEND X-Sweep: yes", "INFO seen", "permit_mynetworks, reject", "reject_unauth_destination", "CLASS", "554 gone", "HOLD", "1234", "DISCARD"}

// accessTable makes a table of access(5) for a kind of key.
func (s *stager) accessTable(kind string) string {
	n := s.names
	keys := map[string][]string{
		"client":    {"198.51.100.10", "198.51.100.12", "203.0.113", "good.test", "nofwd.test", "bad.test", "2001:db8::25", "unknown", "127.0.0.1"},
		"helo":      {"mail.good.test", "localhost", "bad.test", "nodots", "198.51.100.10", n.host},
		"sender":    {"a@good.test", "bad.test", "x@", "<>", "nothere.test", "user1@" + n.box, n.local, "nodots"},
		"recipient": {"user2@" + n.box, n.relayed, "postmaster@", "far@good.test", n.aliased, "nosuch@" + n.local},
		"sasl":      {"joe", "ann"},
	}
	list := keys[kind]
	if list == nil {
		list = append(append(keys["client"], keys["sender"]...), keys["recipient"]...)
	}
	classes, _ := s.views[0].List("smtpd_restriction_classes") // a broken list has none
	var b strings.Builder
	for _, key := range list {
		action := accessActions[s.rnd.IntN(len(accessActions))]
		if action == "CLASS" {
			if action = "DUNNO"; len(classes) > 0 {
				action = classes[s.rnd.IntN(len(classes))]
			}
		}
		fmt.Fprintf(&b, "%s %s\n", key, action)
	}
	return b.String()
}

// zone makes the DNS.
func (s *stager) zone() {
	n := s.names
	var b strings.Builder
	b.WriteString(worldZone)
	for _, d := range []string{n.domain, n.box, n.aliased, n.relayed, n.broken} {
		fmt.Fprintf(&b, "%s. MX 10 mail.good.test.\n", d)
	}
	for _, h := range []string{n.host, n.local} {
		if h != n.domain {
			fmt.Fprintf(&b, "%s. A 192.0.2.1\n", h)
		}
	}
	var lists []string
	for l := range s.lists {
		lists = append(lists, l)
	}
	sort.Strings(lists)
	for i, l := range lists {
		fmt.Fprintf(&b, "66.113.0.203.%s. A 127.0.0.%d\n66.113.0.203.%s. TXT \"see list %d\"\n", l, 2+i%3, l, i)
		fmt.Fprintf(&b, "bad.test.%s. A 127.0.1.2\nmail.bad.test.%s. A 127.0.1.2\n", l, l)
	}
	s.Zone = b.String()
}

// worldZone is the DNS of every configuration: the clients and the domains of
// others.
const worldZone = `mail.good.test. A 198.51.100.10
mail.good.test. AAAA 2001:db8::25
10.100.51.198.in-addr.arpa. PTR mail.good.test.
5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mail.good.test.
good.test. MX 10 mail.good.test.
11.100.51.198.in-addr.arpa. PTR client.nofwd.test.
13.100.51.198.in-addr.arpa. SERVFAIL
14.100.51.198.in-addr.arpa. PTR mail.good.test.
70.100.51.198.in-addr.arpa. PTR friend.good.test.
friend.good.test. A 198.51.100.70
66.113.0.203.in-addr.arpa. PTR mail.bad.test.
mail.bad.test. A 203.0.113.66
bad.test. MX 10 mail.bad.test.
nullmx.test. MX 0 .
onlya.test. A 192.0.2.77
sick.test. SERVFAIL
`
