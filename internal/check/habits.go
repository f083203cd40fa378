package check

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/table"
)

// domainLists are the address classes: a domain belongs to one of them
// (ADDRESS_CLASS_README).
var domainLists = []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"}

// domains finds domains that are in two address classes.
func (r *run) domains(code string) {
	lists := map[string]*table.MatchList{}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	set := table.NewSet(r.options())
	defer func() { _ = set.Close() }()
	for _, name := range domainLists {
		if list, err := set.DomainList(name, postconf.SplitList(r.value(name)), false); err == nil {
			lists[name] = list
		}
	}
	for i, one := range domainLists {
		for _, domain := range postconf.SplitList(r.value(one)) {
			if strings.ContainsAny(domain, ":/!$") {
				continue
			}
			for _, two := range domainLists[i+1:] {
				if lists[two] == nil || r.includes(two, one) {
					continue
				}
				if in, err := lists[two].Match(ctx, domain); err == nil && in {
					r.add(Warning, code, r.at(two), "domain "+domain+" is in "+one+" and in "+two, "list it in one of them; "+one+" wins")
				}
			}
		}
	}
}

// includes tells whether a list is defined by another one, as relay_domains is by
// $mydestination at low compatibility levels: that is meant.
func (r *run) includes(list, other string) bool {
	raw, _, _ := r.main.Raw(list)
	return strings.Contains(raw, "$"+other) || strings.Contains(raw, "${"+other) || strings.Contains(raw, "$("+other)
}

// openRelay finds settings that let strangers send through this server.
func (r *run) openRelay(code string) {
	for _, item := range postconf.SplitList(r.value("mynetworks")) {
		p, err := netip.ParsePrefix(strings.NewReplacer("[", "", "]", "").Replace(item))
		if err != nil || p.Addr().IsPrivate() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16 {
			r.add(Error, code, r.at("mynetworks"), "mynetworks trusts "+item+": everybody in it may relay", "list your own networks")
		}
	}
	for _, svc := range r.cfg.Active() {
		if svc.Type != "inet" || svc.Program() != "smtpd" {
			continue
		}
		v := r.cfg.View(svc)
		words := slices.Concat(listOf(v, "smtpd_relay_restrictions"), listOf(v, "smtpd_recipient_restrictions"))
		at := setting{origin: svc.Origin}
		if i := slices.Index(words, "permit"); i >= 0 && !slices.ContainsFunc(words[:i], stopsRelaying) {
			r.add(Error, code, at, "service "+svc.ID()+" permits every recipient: nothing before \"permit\" refuses foreign destinations",
				"put reject_unauth_destination, or reject, before it")
		}
	}
}

// stopsRelaying tells whether a restriction keeps strangers from relaying.
func stopsRelaying(word string) bool {
	return slices.Contains([]string{"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit", "check_relay_domains"}, word)
}

func listOf(v *postconf.View, name string) []string {
	list, err := v.List(name)
	if err != nil {
		return nil
	}
	return list
}

// habits finds what is copied from page to page and does not do what is hoped.
func (r *run) habits(code string) {
	for _, h := range habitRows {
		if value := r.value(h.name); r.main.IsSet(h.name) && h.bad(value) {
			r.add(h.severity, code, r.at(h.name), h.name+" = "+clip(value)+": "+h.text, h.instead)
		}
	}
}

// habitRows are the habits.
var habitRows = []struct {
	name     string
	bad      func(string) bool
	severity Severity
	text     string
	instead  string
}{
	{"smtp_tls_security_level", is("encrypt", "verify", "secure"), Warning,
		"mail for every site without TLS waits until it is returned", "may, or dane with a resolver that validates; smtp_tls_policy_maps for partners"},
	{"smtpd_tls_security_level", is("encrypt"), Warning,
		"in main.cf it also holds for port 25, where RFC 3207 4 forbids to insist on TLS", "may here, and encrypt with -o in master.cf for submission"},
	{"smtpd_tls_auth_only", is("no"), Note, "passwords may cross the network in the clear", "yes"},
	{"smtpd_helo_required", is("no"), Note, "clients may skip HELO", "yes"},
	{"disable_vrfy_command", is("no"), Note, "VRFY tells strangers which addresses exist", "yes"},
	{"message_size_limit", is("0"), Warning, "there is no limit: one message can fill the disk", "a number of bytes"},
	{"mailbox_size_limit", is("51200000"), Note, "a mailbox file of 51 MB takes no more mail", "0, and quotas elsewhere"},
	{"smtpd_banner", func(v string) bool { return !strings.Contains(v, "ESMTP") }, Note, "some old clients look for the word ESMTP", "$myhostname ESMTP"},
	{"myhostname", func(v string) bool { return !strings.Contains(v, ".") }, Warning, "it is no fully qualified name: other servers may refuse it in HELO", "the name that the address of this machine has in the DNS"},
	{"smtpd_forbid_bare_newline", is("no"), Warning, "messages with bare line feeds pass; an end of data without CRLF is refused all the same", "normalize"},
}

// is matches values without regard to case.
func is(words ...string) func(string) bool {
	return func(v string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, v) })
	}
}
