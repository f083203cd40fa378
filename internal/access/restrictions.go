package access

// row is one word of the restriction language.
type row struct {
	name   string
	arg    argument
	status status
	run    func(c *Checker, r *rule) outcome
}

// argument is what follows a word.
type argument uint8

const (
	argNone argument = iota
	argTable
	argSeconds
	// argDomain is a list in the DNS, argServer a policy server.
	argDomain
	argServer
	// argLimit is what is counted, see the room limits.
	argLimit
)

// status tells what we can do with a word.
type status uint8

const (
	ready status = iota
	// removed words are no longer Postfix's.
	removed
	// unknown words are nobody's.
	unknown
)

const warnIfReject = "warn_if_reject"

// rows returns the restriction language. Words on one line mean the same, the
// first is today's name. They are a function because some rules compile lists
// themselves.
func rows() []row {
	groups := [][]row{genericRows(), clientRows(), heloRows(), senderRows(), recipientRows(), serverRows(), listRows(), removedRows()}
	var all []row
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func genericRows() []row {
	return []row{
		{name: "permit", run: permitAll},
		{name: "reject", run: rejectAll},
		{name: "defer", run: deferAll},
		{name: "defer_if_permit", run: deferIfPermit},
		{name: "defer_if_reject", run: deferIfReject},
		{name: warnIfReject, run: nil}, // a prefix, see Checker.run
		{name: "sleep", arg: argSeconds, run: sleep},
		{name: "check_policy_service", arg: argServer, run: checkPolicy},
		{name: "postroad_limit", arg: argLimit, run: checkLimit},
		{name: "reject_unauth_pipelining", run: rejectPipelining},
		{name: "reject_plaintext_session", run: rejectPlaintext},
	}
}

func clientRows() []row {
	return []row{
		{name: "permit_inet_interfaces", run: permitInterfaces},
		{name: "permit_mynetworks", run: permitMynetworks},
		{name: "permit_sasl_authenticated", run: permitSASL},
		{name: "permit_tls_clientcerts", run: permitClientCerts},
		{name: "permit_tls_all_clientcerts", run: permitAllCerts},
		{name: "check_client_access", arg: argTable, run: checkClient},
		{name: "check_reverse_client_hostname_access", arg: argTable, run: checkReverseClient},
		{name: "check_ccert_access", arg: argTable, run: checkCert},
		{name: "check_sasl_access", arg: argTable, run: checkSASL},
		{name: "check_address_map", arg: argTable, run: checkAddressMap},
		{name: "reject_unknown_client_hostname", run: rejectUnknownClient},
		{name: "reject_unknown_client", run: rejectUnknownClient},
		{name: "reject_unknown_reverse_client_hostname", run: rejectUnknownReverse},
	}
}

func heloRows() []row {
	return []row{
		{name: "check_helo_access", arg: argTable, run: checkHelo},
		{name: "reject_invalid_helo_hostname", run: rejectInvalidHelo},
		{name: "reject_invalid_hostname", run: rejectInvalidHelo},
		{name: "reject_non_fqdn_helo_hostname", run: rejectNonFQDNHelo},
		{name: "reject_non_fqdn_hostname", run: rejectNonFQDNHelo},
		{name: "reject_unknown_helo_hostname", run: rejectUnknownHelo},
		{name: "reject_unknown_hostname", run: rejectUnknownHelo},
	}
}

func senderRows() []row {
	return []row{
		{name: "check_sender_access", arg: argTable, run: checkSender},
		{name: "reject_non_fqdn_sender", run: rejectNonFQDNSender},
		{name: "reject_unknown_sender_domain", run: rejectUnknownSenderDomain},
		{name: "reject_unknown_address", run: rejectUnknownSenderDomain},
		{name: "reject_unlisted_sender", run: rejectUnlistedSender},
		{name: "reject_unverified_sender", run: rejectUnverifiedSender},
		{name: "reject_sender_login_mismatch", run: rejectLoginMismatch},
		{name: "reject_authenticated_sender_login_mismatch", run: rejectAuthMismatch},
		{name: "reject_known_sender_login_mismatch", run: rejectKnownMismatch},
		{name: "reject_unauthenticated_sender_login_mismatch", run: rejectUnauthMismatch},
	}
}

func recipientRows() []row {
	return []row{
		{name: "check_recipient_access", arg: argTable, run: checkRecipient},
		{name: "check_etrn_access", arg: argTable, run: checkETRN},
		{name: "permit_auth_destination", run: permitAuthDestination},
		{name: "reject_unauth_destination", run: rejectUnauthDestination},
		{name: "defer_unauth_destination", run: deferUnauthDestination},
		{name: "reject_non_fqdn_recipient", run: rejectNonFQDNRecipient},
		{name: "reject_unknown_recipient_domain", run: rejectUnknownRecipientDomain},
		{name: "reject_unlisted_recipient", run: rejectUnlistedRecipient},
		{name: "check_recipient_maps", run: rejectUnlistedRecipient},
		{name: "reject_multi_recipient_bounce", run: rejectMultiBounce},
		{name: "reject_unverified_recipient", run: rejectUnverifiedRecipient},
		{name: "permit_mx_backup", run: permitMXBackup},
	}
}

// listRows are the rules about lists in the DNS.
func listRows() []row {
	return []row{
		{name: "reject_rbl_client", arg: argDomain, run: rejectRBLClient},
		{name: "reject_rbl", arg: argDomain, run: rejectRBLClient},
		{name: "reject_rhsbl_client", arg: argDomain, run: rejectRHSBLClient},
		{name: "reject_rhsbl_reverse_client", arg: argDomain, run: rejectRHSBLReverse},
		{name: "reject_rhsbl_helo", arg: argDomain, run: rejectRHSBLHelo},
		{name: "reject_rhsbl_sender", arg: argDomain, run: rejectRHSBLSender},
		{name: "reject_rhsbl_recipient", arg: argDomain, run: rejectRHSBLRecipient},
		{name: "permit_dnswl_client", arg: argDomain, run: permitDNSWLClient},
		{name: "permit_rhswl_client", arg: argDomain, run: permitRHSWLClient},
	}
}

// removedRows are words that Postfix 3.9 removed; the third took an argument.
func removedRows() []row {
	return []row{
		{name: "permit_naked_ip_address", status: removed},
		{name: "check_relay_domains", status: removed},
		{name: "reject_maps_rbl", status: removed},
	}
}

// rowOfClass is the row of a restriction class.
func rowOfClass(word string) row { return row{name: word, run: runClass} }

// rowOfUnknown is the row of a word that nobody knows.
func rowOfUnknown(word string) row { return row{name: word, status: unknown, run: configError} }
