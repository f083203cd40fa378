//go:build oracle

package access

import (
	"slices"
	"strings"
	"testing"
)

// TestPolicyServerOracle lets the smtpd(8) of Postfix ask the policy server, and
// compares what is asked, what is answered and what is logged.
func TestPolicyServerOracle(t *testing.T) {
	base, resolver, server := baseView(t), startDNS(t), startPolicy(t)
	cases := readCases(t, "testdata/delegate/cases.txt")
	withServer(cases, server)
	o := startOracle(t, cases)
	steps, asked := 0, 0
	for i, c := range cases {
		replies := o.play(t, i, c)
		theirs := server.take()
		ours := strings.Split(transcript(t, c, base, resolver), "\n")
		sameReplies(t, c, ours, replies)
		sameLog(t, c, ours, o.decisions(t, i))
		sameRequests(t, c, server.take(), theirs)
		steps += len(replies)
		asked += len(theirs)
	}
	t.Logf("%d replies and %d requests compared", steps, asked)
}

// sameRequests compares requests line by line.
func sameRequests(t *testing.T, c *policyCase, ours, theirs []string) {
	t.Helper()
	// The peer of the test connects as itself before it sends XCLIENT.
	theirs = slices.DeleteFunc(theirs, func(r string) bool { return strings.Contains(r, "client_address=127.0.0.1\n") })
	if len(ours) != len(theirs) {
		t.Errorf("case %s: %d requests, Postfix has %d", c.name, len(ours), len(theirs))
	}
	for i := range min(len(ours), len(theirs)) {
		their := strings.Split(strings.Replace(theirs[i], "protocol_state=XCLIENT", "protocol_state=CONNECT", 1), "\n")
		mine := strings.Split(ours[i], "\n")
		if *sbin == "" {
			mine = slices.DeleteFunc(mine, since37)
		}
		for n := range max(len(mine), len(their)) {
			if n >= len(mine) || n >= len(their) || mine[n] != their[n] {
				t.Errorf("case %s, request %d, line %d\nours\n%s\nPostfix\n%s", c.name, i, n, strings.Join(mine[min(n, len(mine)):], "\n"), strings.Join(their[min(n, len(their)):], "\n"))
				break
			}
		}
	}
}

// since37 tells whether an attribute is newer than Postfix 3.7.
func since37(line string) bool {
	return strings.HasPrefix(line, "compatibility_level=") || strings.HasPrefix(line, "mail_version=")
}
