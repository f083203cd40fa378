package cli

import (
	"strings"

	"postroad/internal/access"
	"postroad/internal/agent"
	"postroad/internal/agent/smtp"
	"postroad/internal/bounce"
	"postroad/internal/cleanup"
	"postroad/internal/master"
	"postroad/internal/milter"
	"postroad/internal/postconf"
	"postroad/internal/postscreen"
	"postroad/internal/qmgr"
	"postroad/internal/rewrite"
	"postroad/internal/sasl"
	"postroad/internal/smtpd"
	"postroad/internal/tlsmgr"
	"postroad/internal/verify"
)

// AllSettings are the Settings of every room: a main.cf parameter is implemented
// when one of them has it.
func AllSettings() []any {
	return []any{
		access.Settings{}, agent.MailboxSettings{}, agent.VirtualSettings{}, agent.LocalSettings{}, agent.PipeSettings{}, agent.FilterSettings{}, smtp.Common{}, smtp.Settings{},
		bounce.Settings{}, cleanup.Settings{}, master.Settings{}, qmgr.Settings{}, rewrite.Settings{},
		milter.Settings{}, postscreen.Settings{}, postscreen.TLSSettings{}, sasl.Settings{}, smtpd.Settings{}, tlsmgr.Settings{}, verify.Settings{}, Settings{},
	}
}

// Implemented are the parameters that count: those of a Settings struct, those of
// elsewhere, and the numbers of queue manager and master.
func Implemented() map[string]bool {
	all := postconf.Tagged(AllSettings()...)
	for _, name := range elsewhere {
		all[name] = true
	}
	postconf.Params(func(p *postconf.Param) {
		if qmgr.ReadsLimit(p.Name) {
			all[p.Name] = true
		}
	})
	return all
}

// elsewhere are parameters that no Settings struct has and that count all the
// same: the configuration itself, the master and the inventory read them.
var elsewhere = []string{
	"cleanup_service_name", "compatibility_level", "default_database_type", "inet_interfaces", "inet_protocols", "master_service_disable", "mynetworks",
	"mynetworks_style", "myorigin", "error_notice_recipient", "postroad_metrics_listen", "rewrite_service_name", "smtpd_restriction_classes",
	// socketmap: tables ask for it by name.
	"socketmap_max_reply_size",
	// sessions of cmd/postroad read it.
	"queue_minfree",
	// Values that others are made of: ${service_name} and the like, the default of
	// every *_tempfail_action, the type of the caches.
	"default_cache_db_type", "mail_release_date", "postroad_version", "process_id", "process_name", "reject_tempfail_action", "service_name",
	// The inventory reports what smtpd counts.
	"anvil_status_update_time",
}

// asWanted are values that ask for what happens anyhow.
var asWanted = map[string]string{
	"biff": "no", "in_flow_delay": "0", "readme_directory": "no", "html_directory": "no", "sample_directory": "no", "manpage_directory": "no",
	"smtpd_tls_session_cache_database": "none", "lmtp_tls_session_cache_database": "none",
}

// Unserved reports every parameter that is set, in main.cf or in master.cf, and
// that has no effect in this release. With all it also tells which are treated
// differently from Postfix, and why.
func Unserved(cfg *postconf.Config, all bool) []postconf.Problem {
	counts := Implemented()
	var problems []postconf.Problem
	check := func(name, value string, o postconf.Origin) {
		p, ok := postconf.Find(name)
		if !ok || servedUnderOther(name, counts) || value == p.Default || value == asWanted[name] || qmgr.ReadsLimit(name) || master.ReadsLimit(cfg, name) {
			return
		}
		switch p.StatusIn(counts) {
		case postconf.Planned:
			problems = append(problems, postconf.Problem{Origin: o, Text: "parameter " + name + " has no effect in this release: " + name + "=" + strings.Join(strings.Fields(value), " ")})
		case postconf.Different:
			if all {
				problems = append(problems, postconf.Problem{Note: !p.Missed(), Origin: o, Text: "parameter " + name + " has no effect: " + p.Reason})
			}
		}
	}
	for _, name := range cfg.Main.Names() {
		if set, ok := cfg.Main.Lookup(name); ok {
			check(name, set.Value, set.Origin)
		}
	}
	for _, svc := range cfg.Active() {
		for _, o := range svc.Overrides {
			check(o.Name, o.Value, svc.Origin)
		}
	}
	return problems
}

// servedUnderOther tells whether name is a former name of a parameter that counts:
// the default of that refers to it.
func servedUnderOther(name string, tagged map[string]bool) bool {
	if !postconf.Legacy(name) {
		return false
	}
	found := false
	postconf.Params(func(p *postconf.Param) {
		found = found || strings.Contains(p.Default, "{$"+name+"}") && p.StatusIn(tagged) == postconf.Implemented
	})
	return found
}
