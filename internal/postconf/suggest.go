package postconf

import "strings"

// mistaken has names that people write, or that Postfix once had, and the name
// that they mean, where the spelling alone does not tell. The names are in the
// order of bytes.
var mistaken = [][2]string{
	{"extract_recipient_limit", "header_address_token_limit"},
	{"max_message_size", "message_size_limit"},
	{"max_queue_lifetime", "maximal_queue_lifetime"},
	{"maximum_backoff_time", "maximal_backoff_time"},
	{"maximum_queue_lifetime", "maximal_queue_lifetime"},
	{"message_size", "message_size_limit"},
	{"minimum_backoff_time", "minimal_backoff_time"},
	{"postscreen_blacklist_networks", "postscreen_access_list"},
	{"postscreen_cache_ttl", "postscreen_cache_retention_time"},
	{"postscreen_whitelist_networks", "postscreen_access_list"},
	{"program_directory", "daemon_directory"},
	{"queue_lifetime", "maximal_queue_lifetime"},
	{"sender_based_routing", "sender_dependent_relayhost_maps"},
	{"smarthost", "relayhost"},
	{"smtp_connection_cache_reuse_limit", "smtp_connection_reuse_count_limit"},
	{"smtp_max_message_size", "message_size_limit"},
	{"smtp_tls_cipherlist", "smtp_tls_ciphers"},
	{"smtp_tls_enable", "smtp_tls_security_level"},
	{"smtp_tls_enabled", "smtp_tls_security_level"},
	{"smtpd_sasl_application_name", "smtpd_sasl_path"},
	{"smtpd_tls_cipherlist", "smtpd_tls_ciphers"},
	{"smtpd_tls_enable", "smtpd_tls_security_level"},
	{"smtpd_tls_enabled", "smtpd_tls_security_level"},
	{"tls_legacy_public_key_fingerprints", ""},
}

// Suggest returns the parameter that was probably meant by a name that does not
// exist, or "".
func Suggest(name string) string {
	for _, row := range mistaken {
		if row[0] == name {
			return row[1]
		}
	}
	// The prefix smtp_ is the client; access restrictions are the server's.
	if rest, ok := strings.CutPrefix(name, "smtp_"); ok && findBuiltin("smtpd_"+rest) != nil {
		return "smtpd_" + rest
	}
	if rest, ok := strings.CutPrefix(name, "smtpd_"); ok && findBuiltin("smtp_"+rest) != nil {
		return "smtp_" + rest
	}
	lower := strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	if lower != name && findBuiltin(lower) != nil {
		return lower
	}
	// One mistake for each six letters, at most three.
	limit := min(len(name)/6, 3)
	best, bestDistance := "", limit+1
	Params(func(p *Param) {
		if d := distance(name, p.Name, bestDistance); d < bestDistance {
			best, bestDistance = p.Name, d
		}
	})
	return best
}

// suggest returns the phrase for a name that is not used in this configuration.
func (u *Usage) suggest(name string) string {
	best := Suggest(name)
	if best == "" {
		return ""
	}
	return `did you mean "` + best + `"?`
}

// distance returns the number of letters that have to be inserted, removed,
// replaced or exchanged with their neighbour to make b of a (Damerau-Levenshtein
// distance, each letter edited at most once), or limit when it is not less.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit || len(a) > 200 {
		return limit
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			cur[j] = d
			least = min(least, d)
		}
		if least >= limit {
			return limit
		}
		before, prev, cur = prev, cur, before
	}
	return min(prev[len(b)], limit)
}
