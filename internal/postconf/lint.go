package postconf

import (
	"slices"
	"strings"
)

// outOfDate has the names that Postfix 3.11 warns about, and what to do instead.
// The text after "specify" is the name of the parameter that replaces it; without
// one it should not be specified at all. The names are in the order of bytes.
var outOfDate = [][2]string{
	{"authorized_verp_clients", "smtpd_authorized_verp_clients"},
	{"disable_dns_lookups", "smtp_dns_support_level"},
	{"fallback_relay", "smtp_fallback_relay"},
	{"lmtp_cname_overrides_servername", ""},
	{"lmtp_enforce_tls", "lmtp_tls_security_level"},
	{"lmtp_per_record_deadline", "lmtp_per_request_deadline"},
	{"lmtp_tls_enforce_peername", "lmtp_tls_security_level"},
	{"lmtp_tls_per_site", "lmtp_tls_policy_maps"},
	{"lmtp_use_tls", "lmtp_tls_security_level"},
	{"postscreen_blacklist_action", "postscreen_denylist_action"},
	{"postscreen_dnsbl_ttl", "postscreen_dnsbl_max_ttl"},
	{"postscreen_dnsbl_whitelist_threshold", "postscreen_dnsbl_allowlist_threshold"},
	{"postscreen_enforce_tls", "postscreen_tls_security_level"},
	{"postscreen_use_tls", "postscreen_tls_security_level"},
	{"postscreen_whitelist_interfaces", "postscreen_allowlist_interfaces"},
	{"smtp_cname_overrides_servername", ""},
	{"smtp_enforce_tls", "smtp_tls_security_level"},
	{"smtp_per_record_deadline", "smtp_per_request_deadline"},
	{"smtp_tls_enforce_peername", "smtp_tls_security_level"},
	{"smtp_tls_per_site", "smtp_tls_policy_maps"},
	{"smtp_use_tls", "smtp_tls_security_level"},
	{"smtpd_client_connection_limit_exceptions", "smtpd_client_event_limit_exceptions"},
	{"smtpd_enforce_tls", "smtpd_tls_security_level"},
	{"smtpd_per_record_deadline", "smtpd_per_request_deadline"},
	{"smtpd_tls_dh1024_param_file", "-"},
	{"smtpd_tls_eecdh_grade", "-"},
	{"smtpd_use_tls", "smtpd_tls_security_level"},
	{"tlsproxy_client_enforce_tls", "tlsproxy_client_security_level"},
	{"tlsproxy_client_level", "tlsproxy_client_security_level"},
	{"tlsproxy_client_per_site", "tlsproxy_client_policy_maps"},
	{"tlsproxy_client_policy", "tlsproxy_client_policy_maps"},
	{"tlsproxy_client_use_tls", "tlsproxy_client_security_level"},
	{"tlsproxy_enforce_tls", "tlsproxy_tls_security_level"},
	{"tlsproxy_use_tls", "tlsproxy_tls_security_level"},
	{"virtual_maps", "virtual_alias_maps"},
}

// OutOfDate returns the advice of Postfix about a name that it will drop.
func OutOfDate(name string) (advice string, ok bool) {
	for _, row := range outOfDate {
		if row[0] != name {
			continue
		}
		switch row[1] {
		case "":
			return "do not specify", true
		case "-":
			return "do not specify (leave at default)", true
		}
		return `specify "` + row[1] + `"`, true
	}
	return "", false
}

// maxSuggestions bounds the number of names for which the nearest one is looked
// for.
const maxSuggestions = 200

// Warnings returns what postconf(1) warns about: names that are not defined, that
// are not used or are out of date. Each kind is in the order of postconf.
func (u *Usage) Warnings() []Problem {
	problems := slices.Clone(u.warnings)
	suggestions := 0
	check := func(name, value string, o Origin, meaning bool) {
		if !meaning && !u.known[name] {
			p := Problem{Origin: o, Text: "unused parameter: " + name + "=" + oneLine(value)}
			if suggestions++; suggestions <= maxSuggestions {
				p.Suggestion = u.suggest(name)
			}
			problems = append(problems, p)
		} else if advice, old := OutOfDate(name); old {
			problems = append(problems, Problem{Origin: o, Text: `support for parameter "` + name + `" will be removed; instead, ` + advice})
		}
	}
	for _, name := range u.cfg.mainNames() {
		if s, ok := u.cfg.Main.settings[name]; ok {
			check(name, s.Value, s.Origin, u.hasMeaning(name))
		}
	}
	for _, s := range u.cfg.Services {
		overrides := slices.Clone(s.Overrides)
		slices.SortStableFunc(overrides, func(a, b Override) int { return strings.Compare(a.Name, b.Name) })
		for i, o := range overrides {
			if i+1 < len(overrides) && overrides[i+1].Name == o.Name {
				continue
			}
			check(o.Name, o.Value, s.Origin, u.local[s][o.Name] || u.hasMeaning(o.Name))
		}
	}
	return problems
}

// hasMeaning reports whether a name in main.cf means something.
func (u *Usage) hasMeaning(name string) bool {
	return u.Class(name) != 0 || Legacy(name) || findIn(rowsLater, name) != nil || findIn(rowsOurs, name) != nil
}

// oneLine makes a value fit for a message of one line.
func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " ")) }
