package check

import (
	"fmt"
	"slices"
	"strings"

	"postroad/internal/postconf"
)

// collisions finds services that want the same address, and entries that a later
// one replaces.
func (r *run) collisions(code string) {
	type claim struct {
		svc   *postconf.Service
		hosts []string
	}
	for _, svc := range r.cfg.Services {
		if svc.Superseded {
			r.add(Warning, code, setting{origin: svc.Origin}, "entry for service "+svc.ID()+" is not used: a later one replaces it", "")
		}
	}
	ports := map[string][]claim{}
	for _, svc := range r.cfg.Active() {
		if svc.Type != "inet" {
			continue
		}
		var hosts []string
		port := svc.Name
		if i := strings.LastIndexByte(svc.Name, ':'); i >= 0 {
			hosts, port = []string{strings.Trim(svc.Name[:i], "[]")}, svc.Name[i+1:]
		} else {
			hosts = listOf(r.main, "inet_interfaces")
		}
		if n, err := postconf.LookupPort(port); err == nil {
			port = fmt.Sprint(n)
		}
		for _, other := range ports[port] {
			if share(hosts, other.hosts) {
				r.add(Error, code, setting{origin: svc.Origin}, fmt.Sprintf("service %s wants an address of service %s (%v)", svc.ID(), other.svc.ID(), other.svc.Origin),
					"one of them cannot start")
			}
		}
		ports[port] = append(ports[port], claim{svc, hosts})
	}
}

// share tells whether two lists of hosts have one in common.
func share(one, two []string) bool {
	if slices.Contains(one, "all") || slices.Contains(two, "all") {
		return true
	}
	return slices.ContainsFunc(one, func(h string) bool { return slices.Contains(two, h) })
}

// owners tells which program reads the parameters with a prefix, longest first.
var owners = []struct{ prefix, program string }{
	{"postscreen_", "postscreen"}, {"tlsproxy_", "tlsproxy"}, {"qmqpd_", "qmqpd"}, {"lmtp_", "lmtp"},
}

// unused finds settings for programs that no service runs, and limits for
// transports that are not there.
func (r *run) unused(code string) {
	runs, names := map[string]bool{}, map[string]bool{}
	for _, svc := range r.cfg.Active() {
		runs[svc.Program()] = true
		names[svc.Name] = true
	}
	for _, s := range r.settings() {
		for _, o := range owners {
			if strings.HasPrefix(s.name, o.prefix) && !runs[o.program] {
				r.add(Note, code, s, s.name+" is set, and no service in master.cf runs "+o.program, "")
				break
			}
		}
		for _, suffix := range transportSuffixes {
			name, ok := strings.CutSuffix(s.name, suffix)
			if !ok || name == "default" || name == "" || names[name] {
				continue
			}
			if _, known := postconf.Find(s.name); known && !strings.Contains(name, "_") {
				r.add(Warning, code, s, s.name+" is set, and master.cf has no service "+name, "")
			}
			break
		}
	}
}

// transportSuffixes make parameters of transports.
var transportSuffixes = []string{
	"_destination_concurrency_limit", "_destination_recipient_limit", "_destination_rate_delay", "_initial_destination_concurrency",
	"_transport_rate_delay", "_recipient_limit", "_recipient_refill_limit", "_time_limit",
}

// chroots mentions services that Postfix would lock into the queue directory, but
// for commands of spawn(8), which are.
func (r *run) chroots(code string) {
	var jailed []string
	var first *postconf.Service
	for _, svc := range r.cfg.Active() {
		if svc.Chroot != 'y' || svc.Program() == "spawn" {
			continue
		}
		if first == nil {
			first = svc
		}
		jailed = append(jailed, svc.ID())
	}
	if first != nil {
		r.add(Note, code, setting{origin: first.Origin}, "chroot is not applied: "+clip(strings.Join(jailed, ", ")),
			"the worker runs as mail_owner; files need no copies below the queue directory")
	}
}
