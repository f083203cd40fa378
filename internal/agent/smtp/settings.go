package smtp

import "time"

// Common are the main.cf parameters that have one name for SMTP and LMTP.
type Common struct {
	// MyHostname recognizes a server that is us.
	MyHostname string `postconf:"myhostname"`
	// WindowSize is the size of the buffers of TCP sockets, 0 for the system's.
	WindowSize int `postconf:"tcp_windowsize"`
	// BestMX is the transport of mail for which we are the best exchanger.
	BestMX string `postconf:"best_mx_transport"`
	// InetProtocols are the families in use.
	InetProtocols []string `postconf:"inet_protocols"`
	// RelayHost makes a permanent lookup failure of itself temporary.
	RelayHost string `postconf:"relayhost"`
	// IgnoreMXLookupError goes on to address records when the MX lookup fails.
	IgnoreMXLookupError bool `postconf:"ignore_mx_lookup_error"`
	// DisableDNS is the older way to say that there is no DNS.
	DisableDNS bool `postconf:"disable_dns_lookups"`
	// DisableMIMEConversion sends 8-bit content as it is to servers without 8BITMIME.
	DisableMIMEConversion bool `postconf:"disable_mime_output_conversion"`
	// MinimalBackoff is the age from which a failed handshake is tried again in plaintext.
	MinimalBackoff time.Duration `postconf:"minimal_backoff_time"`
	// AlwaysEHLO and NeverEHLO choose the first command of an SMTP session.
	AlwaysEHLO bool `postconf:"smtp_always_send_ehlo"`
	NeverEHLO  bool `postconf:"smtp_never_send_ehlo"`
	// AssumeFinal says that an LMTP server delivers to mailboxes.
	AssumeFinal bool `postconf:"lmtp_assume_final"`
	// RequireTLS obeys REQUIRETLS, TLSOptional the header "TLS-Required: no".
	RequireTLS  bool `postconf:"requiretls_enable"`
	TLSOptional bool `postconf:"tls_required_enable"`
	// Propagate tells whether extensions survive the generic maps.
	Propagate []string `postconf:"propagate_unmatched_extensions"`
	// BodyCheckSize is how much of a part the body checks see.
	BodyCheckSize int64 `postconf:"body_checks_size_limit"`
	// DebugPeers are servers with whom the dialogue is logged; ParentMatches names the
	// lists in which a domain stands for those below it.
	DebugPeers    []string `postconf:"debug_peer_list"`
	ParentMatches []string `postconf:"parent_domain_matches_subdomains"`
	// QueueDir is where relative UNIX-domain sockets lie.
	QueueDir string `postconf:"queue_directory"`
}

// Settings are the main.cf parameters of smtp(8) and, under lmtp_ names, lmtp(8).
type Settings struct {
	// AddressPreference is the family tried first among equals: any, ipv4 or ipv6.
	AddressPreference string `postconf:"smtp_address_preference,lmtp"`
	// AddressVerifyTarget is where a probe ends: rcpt or data.
	AddressVerifyTarget string `postconf:"smtp_address_verify_target,lmtp"`
	// BalanceInetProtocols keeps both families within MXAddressLimit.
	BalanceInetProtocols bool `postconf:"smtp_balance_inet_protocols,lmtp"`
	// TLSNoteOffer logs servers that offer STARTTLS where TLS is not used.
	TLSNoteOffer bool `postconf:"smtp_tls_note_starttls_offer,lmtp"`
	// GenericMaps change addresses on their way out; the checks change lines.
	GenericMaps        []string `postconf:"smtp_generic_maps,lmtp"`
	HeaderChecks       []string `postconf:"smtp_header_checks,lmtp"`
	MIMEHeaderChecks   []string `postconf:"smtp_mime_header_checks,lmtp"`
	NestedHeaderChecks []string `postconf:"smtp_nested_header_checks,lmtp"`
	BodyChecks         []string `postconf:"smtp_body_checks,lmtp"`
	// BindAddress is the source address for IPv4 servers.
	BindAddress string `postconf:"smtp_bind_address,lmtp"`
	// BindAddress6 is the source address for IPv6 servers.
	BindAddress6 string `postconf:"smtp_bind_address6,lmtp"`
	// BindAddressEnforce defers when the source address cannot be used.
	BindAddressEnforce bool `postconf:"smtp_bind_address_enforce,lmtp"`
	// CacheDestinations are next hops whose connections are always kept.
	CacheDestinations []string `postconf:"smtp_connection_cache_destinations,lmtp"`
	// CacheOnDemand keeps a connection when more mail waits for the next hop.
	CacheOnDemand bool `postconf:"smtp_connection_cache_on_demand,lmtp"`
	// CacheTimeLimit is how long an unused connection is kept.
	CacheTimeLimit time.Duration `postconf:"smtp_connection_cache_time_limit,lmtp"`
	// ReuseCountLimit is the number of deliveries per connection, 0 for any.
	ReuseCountLimit int `postconf:"smtp_connection_reuse_count_limit,lmtp"`
	// ReuseTimeLimit is the age at which a connection is not used again.
	ReuseTimeLimit time.Duration `postconf:"smtp_connection_reuse_time_limit,lmtp"`
	// ConnectTimeout limits a TCP handshake; 0 leaves it to the kernel.
	ConnectTimeout time.Duration `postconf:"smtp_connect_timeout,lmtp"`
	// DataInitTimeout limits the wait for the reply to DATA.
	DataInitTimeout time.Duration `postconf:"smtp_data_init_timeout,lmtp"`
	// DataXferTimeout limits the time in which no content can be sent.
	DataXferTimeout time.Duration `postconf:"smtp_data_xfer_timeout,lmtp"`
	// RequestDeadline makes that the limit for all of the content, plus the time
	// that it takes at MinDataRate bytes a second. A reply always has one limit.
	RequestDeadline bool `postconf:"smtp_per_request_deadline,lmtp"`
	MinDataRate     int  `postconf:"smtp_min_data_rate,lmtp"`
	// DataDoneTimeout limits the wait for the reply to the final dot.
	DataDoneTimeout time.Duration `postconf:"smtp_data_done_timeout,lmtp"`
	// DeferIfNoMXAddress defers when no mail exchanger has an address.
	DeferIfNoMXAddress bool `postconf:"smtp_defer_if_no_mx_address_found,lmtp"`
	// DiscardKeywords are the extensions of servers that are not used.
	DiscardKeywords []string `postconf:"smtp_discard_ehlo_keywords,lmtp"`
	// DiscardKeywordMaps are the same by server address.
	DiscardKeywordMaps []string `postconf:"smtp_discard_ehlo_keyword_address_maps,lmtp"`
	// DNSReplyFilter drops records of DNS answers, ReplyFilter replaces lines of
	// servers.
	DNSReplyFilter []string `postconf:"smtp_dns_reply_filter,lmtp"`
	ReplyFilter    []string `postconf:"smtp_reply_filter,lmtp"`
	// DNSSupportLevel is disabled, enabled or dnssec; empty means enabled.
	DNSSupportLevel string `postconf:"smtp_dns_support_level,lmtp"`
	// FallbackRelay are the next hops tried when all others failed.
	FallbackRelay []string `postconf:"smtp_fallback_relay,lmtp"`
	// HeloName is our name in EHLO, HELO or LHLO.
	HeloName string `postconf:"smtp_helo_name,lmtp"`
	// HeloTimeout limits the wait for the greeting and for each EHLO reply.
	HeloTimeout time.Duration `postconf:"smtp_helo_timeout,lmtp"`
	// HostLookup are the ways to find host addresses: dns, native.
	HostLookup []string `postconf:"smtp_host_lookup,lmtp"`
	// LineLengthLimit is the longest line sent in one piece, 0 for any.
	LineLengthLimit int `postconf:"smtp_line_length_limit,lmtp"`
	// LogTLSStatus adds tls= to the delivery line.
	LogTLSStatus bool `postconf:"smtp_log_tls_feature_status,lmtp"`
	// MailTimeout limits the wait for the reply to MAIL.
	MailTimeout time.Duration `postconf:"smtp_mail_timeout,lmtp"`
	// MXAddressLimit is the number of addresses tried, 0 for any.
	MXAddressLimit int `postconf:"smtp_mx_address_limit,lmtp"`
	// MXSessionLimit is the number of sessions tried, 0 for any.
	MXSessionLimit int `postconf:"smtp_mx_session_limit,lmtp"`
	// PIXWorkarounds are for a certain firewall, PIXMaps are the same by server
	// address; the end of the data waits for PIXDelay from the age PIXThreshold on.
	PIXWorkarounds []string      `postconf:"smtp_pix_workarounds,lmtp"`
	PIXMaps        []string      `postconf:"smtp_pix_workaround_maps,lmtp"`
	PIXDelay       time.Duration `postconf:"smtp_pix_workaround_delay_time,lmtp"`
	PIXThreshold   time.Duration `postconf:"smtp_pix_workaround_threshold_time,lmtp"`
	// QuitTimeout limits the wait for the reply to QUIT.
	QuitTimeout time.Duration `postconf:"smtp_quit_timeout,lmtp"`
	// QuoteEnvelope quotes local parts as RFC 5321 asks.
	QuoteEnvelope bool `postconf:"smtp_quote_rfc821_envelope,lmtp"`
	// RandomizeAddresses shuffles mail exchangers of equal preference.
	RandomizeAddresses bool `postconf:"smtp_randomize_addresses,lmtp"`
	// RcptTimeout limits the wait for the reply to RCPT.
	RcptTimeout time.Duration `postconf:"smtp_rcpt_timeout,lmtp"`
	// RequirePolicy says by next hop how REQUIRETLS is enforced.
	RequirePolicy []string `postconf:"smtp_requiretls_policy,lmtp"`
	// RsetTimeout limits the wait for the first reply on a connection used again.
	RsetTimeout time.Duration `postconf:"smtp_rset_timeout,lmtp"`
	// SASLEnable logs in to servers for which there is a password.
	SASLEnable bool `postconf:"smtp_sasl_auth_enable,lmtp"`
	// SASLPasswordMaps hold user:password by next hop or host.
	SASLPasswordMaps []string `postconf:"smtp_sasl_password_maps,lmtp"`
	// SASLDelimiter stands between user and password.
	SASLDelimiter string `postconf:"smtp_sasl_password_result_delimiter,lmtp"`
	// SASLSecurityOptions restrict mechanisms on plaintext connections.
	SASLSecurityOptions []string `postconf:"smtp_sasl_security_options,lmtp"`
	// SASLTLSSecurityOptions restrict mechanisms on TLS connections.
	SASLTLSSecurityOptions []string `postconf:"smtp_sasl_tls_security_options,lmtp"`
	// SASLMechanismFilter are the mechanisms that may be used, empty for any.
	SASLMechanismFilter []string `postconf:"smtp_sasl_mechanism_filter,lmtp"`
	// SASLSoftBounce defers mail when the password is refused.
	SASLSoftBounce bool `postconf:"smtp_sasl_auth_soft_bounce,lmtp"`
	// SASLSenderDependent looks for the password by sender first.
	SASLSenderDependent bool `postconf:"smtp_sender_dependent_authentication,lmtp"`
	// SendDummyMailAuth adds AUTH=<> to MAIL after a login.
	SendDummyMailAuth bool `postconf:"smtp_send_dummy_mail_auth,lmtp"`
	// SendXForward tells the server who our client was.
	SendXForward bool `postconf:"smtp_send_xforward_command,lmtp"`
	// Skip5xxGreeting treats a 5xx greeting as temporary.
	Skip5xxGreeting bool `postconf:"smtp_skip_5xx_greeting,lmtp"`
	// SkipQuitResponse closes without waiting for the reply to QUIT.
	SkipQuitResponse bool `postconf:"smtp_skip_quit_response,lmtp"`
	// StartTLSTimeout limits a TLS handshake.
	StartTLSTimeout time.Duration `postconf:"smtp_starttls_timeout,lmtp"`
	// TCPPort is the port when the next hop names none.
	TCPPort string `postconf:"smtp_tcp_port,lmtp"`
	// TLSLevel is the TLS level without a policy for the next hop.
	TLSLevel string `postconf:"smtp_tls_security_level,lmtp"`
	// TLSPolicyMaps hold TLS policies by next hop.
	TLSPolicyMaps []string `postconf:"smtp_tls_policy_maps,lmtp"`
	// TLSUse is the older way to say level may.
	TLSUse bool `postconf:"smtp_use_tls,lmtp"`
	// TLSEnforce is the older way to say level encrypt or verify.
	TLSEnforce bool `postconf:"smtp_enforce_tls,lmtp"`
	// TLSEnforcePeername with TLSEnforce asks for a matching certificate.
	TLSEnforcePeername bool `postconf:"smtp_tls_enforce_peername,lmtp"`
	// TLSWrapperMode starts with a TLS handshake (port 465).
	TLSWrapperMode bool `postconf:"smtp_tls_wrappermode,lmtp"`
	// TLSConnectionReuse keeps TLS connections, too.
	TLSConnectionReuse bool `postconf:"smtp_tls_connection_reuse,lmtp"`
	// TLSCAfile and TLSCApath hold the authorities that are trusted.
	TLSCAfile string `postconf:"smtp_tls_CAfile,lmtp"`
	// TLSCApath is a directory of them.
	TLSCApath string `postconf:"smtp_tls_CApath,lmtp"`
	// TLSCertFile and TLSKeyFile are the certificate that we show.
	TLSCertFile string `postconf:"smtp_tls_cert_file,lmtp"`
	// TLSKeyFile is the key to it.
	TLSKeyFile string `postconf:"smtp_tls_key_file,lmtp"`
	// TLSECCertFile and TLSECKeyFile are the same with an ECDSA key.
	TLSECCertFile string `postconf:"smtp_tls_eccert_file,lmtp"`
	// TLSECKeyFile is the key to it.
	TLSECKeyFile string `postconf:"smtp_tls_eckey_file,lmtp"`
	// TLSChainFiles hold keys and certificates together and replace the pairs.
	TLSChainFiles []string `postconf:"smtp_tls_chain_files,lmtp"`
	// TLSProtocols are the protocol versions at level may.
	TLSProtocols string `postconf:"smtp_tls_protocols,lmtp"`
	// TLSMandatoryProtocols are those at the levels above.
	TLSMandatoryProtocols string `postconf:"smtp_tls_mandatory_protocols,lmtp"`
	// TLSCiphers is the cipher grade at level may.
	TLSCiphers string `postconf:"smtp_tls_ciphers,lmtp"`
	// TLSMandatoryCiphers is that at the levels above.
	TLSMandatoryCiphers string `postconf:"smtp_tls_mandatory_ciphers,lmtp"`
	// TLSExclude are ciphers never used.
	TLSExclude string `postconf:"smtp_tls_exclude_ciphers,lmtp"`
	// TLSMandatoryExclude are further ones not used at the levels above may.
	TLSMandatoryExclude string `postconf:"smtp_tls_mandatory_exclude_ciphers,lmtp"`
	// TLSVerifyMatch are the names that a certificate may have at level verify.
	TLSVerifyMatch []string `postconf:"smtp_tls_verify_cert_match,lmtp"`
	// TLSSecureMatch are those at level secure.
	TLSSecureMatch []string `postconf:"smtp_tls_secure_cert_match,lmtp"`
	// TLSFingerprintMatch are the certificates and keys for level fingerprint.
	TLSFingerprintMatch []string `postconf:"smtp_tls_fingerprint_cert_match,lmtp"`
	// TLSDigest is the hash of fingerprints.
	TLSDigest string `postconf:"smtp_tls_fingerprint_digest,lmtp"`
	// TLSHigh and TLSMedium are the cipher lists of the grades.
	TLSHigh   string `postconf:"tls_high_cipherlist"`
	TLSMedium string `postconf:"tls_medium_cipherlist"`
	// TLSCurves are the key exchanges.
	TLSCurves string `postconf:"tls_eecdh_auto_curves"`
	// TLSAppendCA adds the authorities of the system to those of CAfile.
	TLSAppendCA bool `postconf:"tls_append_default_CA"`
	// TLSVerifyDepth is how many certificates may stand above a server's.
	TLSVerifyDepth int `postconf:"smtp_tls_scert_verifydepth,lmtp"`
	// TLSManyLabels lets an asterisk in a certificate stand for several labels.
	TLSManyLabels bool `postconf:"tls_wildcard_matches_multiple_labels"`
	// TLSServerName is the name sent as SNI: hostname, nexthop or a literal name.
	TLSServerName string `postconf:"smtp_tls_servername,lmtp"`
	// TLSLogLevel logs TLS sessions from 1 on.
	TLSLogLevel string `postconf:"smtp_tls_loglevel,lmtp"`
	// XForwardTimeout limits the wait for the reply to XFORWARD.
	XForwardTimeout time.Duration `postconf:"smtp_xforward_timeout,lmtp"`
}
