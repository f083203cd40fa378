package sweep

import (
	"fmt"
	"regexp"
	"strings"

	"postroad/internal/testkit"
)

// difference is a way in which Postfix 3.11 says something else than 3.7, or in
// which what is said depends on the run. It is applied to both sides.
type difference struct {
	find   *regexp.Regexp
	put    string
	reason string
}

// differences are the rows; a line that becomes empty is dropped.
var differences = []difference{
	{regexp.MustCompile(`250-([^|]*)\|250 REQUIRETLS`), "250 $1", "3.11 offers REQUIRETLS inside TLS"},
	{regexp.MustCompile(`\|250-REQUIRETLS`), "", "the same"},
	{regexp.MustCompile(`^warning: support for restriction "permit_mx_backup" will be removed .*`), "", "3.11 says so at each use; here once, when the configuration is read"},
	{regexp.MustCompile(` sasl_(method|username|sender)=\S+`), "", "3.10 names the login in every line about an action"},
	{regexp.MustCompile(`^NOQUEUE: ((?:lost connection|timeout|too many errors) after )`), "$1", "3.10 names the message of a session that was lost"},
	{regexp.MustCompile(`(connect to [^\s\[]+\[)[0-9a-f.:]+(\]:\d+: )`), "${1}ADDR$2", "which address of a host is the last one tried is chance"},
	{regexp.MustCompile(`queued as [0-9A-Za-z]+`), "queued as QID", "a queue id"},
	{regexp.MustCompile(`^(?:[0-9A-F]{6,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{12,}): `), "QID: ", "a queue id"},
	{regexp.MustCompile(`^using backwards-compatible default setting .*`), "", "said once for a configuration, when it is read"},
	{regexp.MustCompile(`^warning: (?:pcre|regexp) map \S+, line \d+: .*`), "", "said by each process of Postfix that opens the table, and once here"},
	{regexp.MustCompile(`^warning: (?:no server certificate is configured, TLS is not available|No server certs available\. TLS won't be enabled)$`), "", "the same: by each process, and when the configuration is read"},
	{regexp.MustCompile(`^warning: do not list domain \S+ in BOTH .*`), "", "said by trivial-rewrite"},
	{regexp.MustCompile(`^warning: \S+: the TLS library (?:does not have|has no) .*`), "", "Go's library has less than OpenSSL, which is said when the configuration is read"},
	{regexp.MustCompile(`^warning: dict_nis_init: .*`), "", "Debian asks NIS for netgroups"},
	{regexp.MustCompile(`^(?:connect|disconnect) from .*`), "", "the beginning and the end are the same for all"},
}

// tag takes the frame of a log line off.
var tag = regexp.MustCompile(`^.*?smtpd\[\d+\]: `)

// Verdicts counts the replies of all answers.
func Verdicts(answers []Answer) int {
	n := 0
	for _, a := range answers {
		if len(a.Steps) == 1 {
			continue // no service
		}
		n += len(a.Steps)
	}
	return n
}

// Compare returns what two subjects said differently, one text for each session.
func (p *Plan) Compare(theirs, ours []Answer) []string {
	var out []string
	for i := range p.Sessions {
		a, b := settle(theirs[i]), settle(ours[i])
		if a == b {
			continue
		}
		s := p.Sessions[i]
		out = append(out, fmt.Sprintf("%s, session %d: %s from %s\n%s", p.Name, i, s.Service, s.Client, testkit.Parted(b, a)))
	}
	return out
}

// settle is an answer as it is compared.
func settle(a Answer) string {
	m := testkit.NewMunger()
	var b strings.Builder
	add := func(prefix, line string) {
		line = m.Line(line)
		for _, d := range differences {
			line = d.find.ReplaceAllString(line, d.put)
		}
		if line != "" {
			b.WriteString(prefix + line + "\n")
		}
	}
	for _, s := range a.Steps {
		add("", s)
	}
	log := a.Log
	if strings.HasSuffix(b.String(), " closed by time\n") {
		log = nil // it does not start: how often that is said is a matter of time
	}
	for _, l := range log {
		add("log: ", tag.ReplaceAllString(l, ""))
	}
	return b.String()
}
