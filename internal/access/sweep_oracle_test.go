//go:build oracle

package access

import (
	"fmt"
	"testing"
)

// sweepLists are the restrictions of the sweep: each becomes an smtpd service.
var sweepLists = [][2]string{
	{"smtpd_client_restrictions", "permit_dnswl_client wl.test, reject_rbl_client bl.test=127.0.0.[2;9], reject_rhsbl_client dbl.test, reject_rhsbl_reverse_client dbl.test"},
	{"smtpd_recipient_restrictions", "permit_rhswl_client wl.test, warn_if_reject reject_rbl_client bl.test, reject_rhsbl_helo dbl.test=127.0.1.[2..4], reject_rhsbl_sender dbl.test, reject_rhsbl_recipient dbl.test, reject_unauth_destination"},
	{"smtpd_helo_restrictions", "check_helo_a_access inline:{{198.51.100=450 a}}, check_helo_mx_access inline:{{198.51.100.2=DEFER_IF_REJECT mx}}, check_helo_ns_access inline:{{elsewhere.test=REJECT ns}}"},
	{"smtpd_sender_restrictions", "permit_sasl_authenticated, check_sender_mx_access inline:{{198.51.100.21=REJECT mx}, {mx.good.test=DUNNO}, {127=550 5.7.9 loop}}, check_sender_ns_access inline:{{ns1.spam.test=WARN ns}, {ns.good.test=DEFER_IF_PERMIT ns}}, check_sender_a_access inline:{{198.51.100=PREPEND X-A: b}}, reject_unknown_sender_domain"},
	{"smtpd_recipient_restrictions", "check_client_a_access inline:{{198.51.100.20=REJECT}}, check_reverse_client_hostname_mx_access inline:{{mx2.spam.test=HOLD}}, check_client_ns_access inline:{{ns.good.test=OK}}, check_recipient_mx_access inline:{{127=REJECT}}, permit_mx_backup, reject_unauth_destination"},
	{"smtpd_relay_restrictions", "check_policy_service { unix:" + policySocket + " }, permit_sasl_authenticated, defer_unauth_destination"},
	{"smtpd_client_restrictions", "defer_if_reject, check_policy_service unix:" + policySocket + ", reject_rbl_client bl.test"},
}

// sweep makes the cases: every list with every client, name, sender, recipient
// and login of these.
func sweep() []*policyCase {
	clients := []string{
		"peer.test 203.0.113.9", "[UNAVAILABLE] 203.0.113.10 mail.spam.test", "spam.test 203.0.113.11", "good.test 203.0.113.12 good.test",
		"friend.test 203.0.113.20", "[TEMPUNAVAIL] 192.0.2.1 [TEMPUNAVAIL]", "client.good.test 203.0.113.99 nomx.test",
	}
	helos := []string{"good.test", "mail.spam.test", "[198.51.100.20]", "localhost"}
	senders := []string{"a@good.test", "a@spam.test", "<>", "deferpermit@loopmx.test", "rejecttext@sickmx.test", "a@nothere.test"}
	recipients := []string{"joe@example.com", "nobody@example.com", "known@relay.test", "x@backup1.test", "x@phish.test", "joe+ext@EXAMPLE.com"}
	var cases []*policyCase
	for n, set := range sweepLists {
		for _, login := range []string{"", "joe"} {
			c := &policyCase{name: fmt.Sprintf("sweep %d %s", n, login), theirs: map[int]string{}}
			c.sets = [][2]string{set, {"smtpd_log_access_permit_actions", "static:all"}}
			for i, client := range clients {
				c.steps = append(c.steps, "client "+client)
				if login != "" {
					c.steps = append(c.steps, "login "+login)
				}
				c.steps = append(c.steps, "helo "+helos[(i+n)%len(helos)])
				for j, sender := range senders {
					c.steps = append(c.steps, "mail "+sender)
					for k, rcpt := range recipients {
						if (i+j+k)%2 == 0 {
							c.steps = append(c.steps, "rcpt "+rcpt)
						}
					}
				}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// TestSweepOracle plays generated sessions to the smtpd(8) of Postfix and to us.
func TestSweepOracle(t *testing.T) {
	base, resolver, server := baseView(t), startDNS(t), startPolicy(t)
	cases := sweep()
	withServer(cases, server)
	compare(t, cases, base, resolver)
}
