package smtp

import "time"

// Common are the main.cf parameters that both protocols share.
type Common struct {
	// MyHostname recognizes a server that is us.
	MyHostname string `postconf:"myhostname"`
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
}

// Settings are the main.cf parameters of smtp(8); those of lmtp(8) are the same
// under other names, see LMTPSettings.
type Settings struct {
	// AddressPreference is the family tried first among equals: any, ipv4 or ipv6.
	AddressPreference string `postconf:"smtp_address_preference"`
	// AddressVerifyTarget is where a probe ends: rcpt or data.
	AddressVerifyTarget string `postconf:"smtp_address_verify_target"`
	// BalanceInetProtocols keeps both families within MXAddressLimit.
	BalanceInetProtocols bool `postconf:"smtp_balance_inet_protocols"`
	// BindAddress is the source address for IPv4 servers.
	BindAddress string `postconf:"smtp_bind_address"`
	// BindAddress6 is the source address for IPv6 servers.
	BindAddress6 string `postconf:"smtp_bind_address6"`
	// BindAddressEnforce defers when the source address cannot be used.
	BindAddressEnforce bool `postconf:"smtp_bind_address_enforce"`
	// CacheDestinations are next hops whose connections are always kept.
	CacheDestinations []string `postconf:"smtp_connection_cache_destinations"`
	// CacheOnDemand keeps a connection when more mail waits for the next hop.
	CacheOnDemand bool `postconf:"smtp_connection_cache_on_demand"`
	// CacheTimeLimit is how long an unused connection is kept.
	CacheTimeLimit time.Duration `postconf:"smtp_connection_cache_time_limit"`
	// ReuseCountLimit is the number of deliveries per connection, 0 for any.
	ReuseCountLimit int `postconf:"smtp_connection_reuse_count_limit"`
	// ReuseTimeLimit is the age at which a connection is not used again.
	ReuseTimeLimit time.Duration `postconf:"smtp_connection_reuse_time_limit"`
	// ConnectTimeout limits a TCP handshake; 0 leaves it to the kernel.
	ConnectTimeout time.Duration `postconf:"smtp_connect_timeout"`
	// DataInitTimeout limits the wait for the reply to DATA.
	DataInitTimeout time.Duration `postconf:"smtp_data_init_timeout"`
	// DataXferTimeout limits the time in which no content can be sent.
	DataXferTimeout time.Duration `postconf:"smtp_data_xfer_timeout"`
	// DataDoneTimeout limits the wait for the reply to the final dot.
	DataDoneTimeout time.Duration `postconf:"smtp_data_done_timeout"`
	// DeferIfNoMXAddress defers when no mail exchanger has an address.
	DeferIfNoMXAddress bool `postconf:"smtp_defer_if_no_mx_address_found"`
	// DiscardKeywords are the extensions of servers that are not used.
	DiscardKeywords []string `postconf:"smtp_discard_ehlo_keywords"`
	// DNSSupportLevel is disabled, enabled or dnssec; empty means enabled.
	DNSSupportLevel string `postconf:"smtp_dns_support_level"`
	// FallbackRelay are the next hops tried when all others failed.
	FallbackRelay []string `postconf:"smtp_fallback_relay"`
	// HeloName is our name in EHLO, HELO or LHLO.
	HeloName string `postconf:"smtp_helo_name"`
	// HeloTimeout limits the wait for the greeting and for each EHLO reply.
	HeloTimeout time.Duration `postconf:"smtp_helo_timeout"`
	// HostLookup are the ways to find host addresses: dns, native.
	HostLookup []string `postconf:"smtp_host_lookup"`
	// LineLengthLimit is the longest line sent in one piece, 0 for any.
	LineLengthLimit int `postconf:"smtp_line_length_limit"`
	// LogTLSStatus adds tls= to the delivery line.
	LogTLSStatus bool `postconf:"smtp_log_tls_feature_status"`
	// MailTimeout limits the wait for the reply to MAIL.
	MailTimeout time.Duration `postconf:"smtp_mail_timeout"`
	// MXAddressLimit is the number of addresses tried, 0 for any.
	MXAddressLimit int `postconf:"smtp_mx_address_limit"`
	// MXSessionLimit is the number of sessions tried, 0 for any.
	MXSessionLimit int `postconf:"smtp_mx_session_limit"`
	// QuitTimeout limits the wait for the reply to QUIT.
	QuitTimeout time.Duration `postconf:"smtp_quit_timeout"`
	// QuoteEnvelope quotes local parts as RFC 5321 asks.
	QuoteEnvelope bool `postconf:"smtp_quote_rfc821_envelope"`
	// RandomizeAddresses shuffles mail exchangers of equal preference.
	RandomizeAddresses bool `postconf:"smtp_randomize_addresses"`
	// RcptTimeout limits the wait for the reply to RCPT.
	RcptTimeout time.Duration `postconf:"smtp_rcpt_timeout"`
	// RsetTimeout limits the wait for the first reply on a connection used again.
	RsetTimeout time.Duration `postconf:"smtp_rset_timeout"`
	// SASLEnable logs in to servers for which there is a password.
	SASLEnable bool `postconf:"smtp_sasl_auth_enable"`
	// SASLPasswordMaps hold user:password by next hop or host.
	SASLPasswordMaps []string `postconf:"smtp_sasl_password_maps"`
	// SASLDelimiter stands between user and password.
	SASLDelimiter string `postconf:"smtp_sasl_password_result_delimiter"`
	// SASLSecurityOptions restrict mechanisms on plaintext connections.
	SASLSecurityOptions []string `postconf:"smtp_sasl_security_options"`
	// SASLTLSSecurityOptions restrict mechanisms on TLS connections.
	SASLTLSSecurityOptions []string `postconf:"smtp_sasl_tls_security_options"`
	// SASLMechanismFilter are the mechanisms that may be used, empty for any.
	SASLMechanismFilter []string `postconf:"smtp_sasl_mechanism_filter"`
	// SASLSoftBounce defers mail when the password is refused.
	SASLSoftBounce bool `postconf:"smtp_sasl_auth_soft_bounce"`
	// SASLSenderDependent looks for the password by sender first.
	SASLSenderDependent bool `postconf:"smtp_sender_dependent_authentication"`
	// SendDummyMailAuth adds AUTH=<> to MAIL after a login.
	SendDummyMailAuth bool `postconf:"smtp_send_dummy_mail_auth"`
	// SendXForward tells the server who our client was.
	SendXForward bool `postconf:"smtp_send_xforward_command"`
	// Skip5xxGreeting treats a 5xx greeting as temporary.
	Skip5xxGreeting bool `postconf:"smtp_skip_5xx_greeting"`
	// SkipQuitResponse closes without waiting for the reply to QUIT.
	SkipQuitResponse bool `postconf:"smtp_skip_quit_response"`
	// StartTLSTimeout limits a TLS handshake.
	StartTLSTimeout time.Duration `postconf:"smtp_starttls_timeout"`
	// TCPPort is the port when the next hop names none.
	TCPPort string `postconf:"smtp_tcp_port"`
	// TLSLevel is the TLS level without a policy for the next hop.
	TLSLevel string `postconf:"smtp_tls_security_level"`
	// TLSPolicyMaps hold TLS policies by next hop.
	TLSPolicyMaps []string `postconf:"smtp_tls_policy_maps"`
	// TLSUse is the older way to say level may.
	TLSUse bool `postconf:"smtp_use_tls"`
	// TLSEnforce is the older way to say level encrypt or verify.
	TLSEnforce bool `postconf:"smtp_enforce_tls"`
	// TLSEnforcePeername with TLSEnforce asks for a matching certificate.
	TLSEnforcePeername bool `postconf:"smtp_tls_enforce_peername"`
	// TLSWrapperMode starts with a TLS handshake (port 465).
	TLSWrapperMode bool `postconf:"smtp_tls_wrappermode"`
	// TLSConnectionReuse keeps TLS connections, too.
	TLSConnectionReuse bool `postconf:"smtp_tls_connection_reuse"`
	// TLSBlockEarlyReply refuses a server that talks ahead of the handshake.
	TLSBlockEarlyReply bool `postconf:"smtp_tls_block_early_mail_reply"`
	// XForwardTimeout limits the wait for the reply to XFORWARD.
	XForwardTimeout time.Duration `postconf:"smtp_xforward_timeout"`
}

// LMTPSettings are the main.cf parameters of lmtp(8). The fields are those of
// Settings, so that one converts to the other.
type LMTPSettings struct {
	// AddressPreference is the family tried first among equals: any, ipv4 or ipv6.
	AddressPreference string `postconf:"lmtp_address_preference"`
	// AddressVerifyTarget is where a probe ends: rcpt or data.
	AddressVerifyTarget string `postconf:"lmtp_address_verify_target"`
	// BalanceInetProtocols keeps both families within MXAddressLimit.
	BalanceInetProtocols bool `postconf:"lmtp_balance_inet_protocols"`
	// BindAddress is the source address for IPv4 servers.
	BindAddress string `postconf:"lmtp_bind_address"`
	// BindAddress6 is the source address for IPv6 servers.
	BindAddress6 string `postconf:"lmtp_bind_address6"`
	// BindAddressEnforce defers when the source address cannot be used.
	BindAddressEnforce bool `postconf:"lmtp_bind_address_enforce"`
	// CacheDestinations are next hops whose connections are always kept.
	CacheDestinations []string `postconf:"lmtp_connection_cache_destinations"`
	// CacheOnDemand keeps a connection when more mail waits for the next hop.
	CacheOnDemand bool `postconf:"lmtp_connection_cache_on_demand"`
	// CacheTimeLimit is how long an unused connection is kept.
	CacheTimeLimit time.Duration `postconf:"lmtp_connection_cache_time_limit"`
	// ReuseCountLimit is the number of deliveries per connection, 0 for any.
	ReuseCountLimit int `postconf:"lmtp_connection_reuse_count_limit"`
	// ReuseTimeLimit is the age at which a connection is not used again.
	ReuseTimeLimit time.Duration `postconf:"lmtp_connection_reuse_time_limit"`
	// ConnectTimeout limits a TCP handshake; 0 leaves it to the kernel.
	ConnectTimeout time.Duration `postconf:"lmtp_connect_timeout"`
	// DataInitTimeout limits the wait for the reply to DATA.
	DataInitTimeout time.Duration `postconf:"lmtp_data_init_timeout"`
	// DataXferTimeout limits the time in which no content can be sent.
	DataXferTimeout time.Duration `postconf:"lmtp_data_xfer_timeout"`
	// DataDoneTimeout limits the wait for the reply to the final dot.
	DataDoneTimeout time.Duration `postconf:"lmtp_data_done_timeout"`
	// DeferIfNoMXAddress defers when no mail exchanger has an address.
	DeferIfNoMXAddress bool `postconf:"lmtp_defer_if_no_mx_address_found"`
	// DiscardKeywords are the extensions of servers that are not used.
	DiscardKeywords []string `postconf:"lmtp_discard_lhlo_keywords"`
	// DNSSupportLevel is disabled, enabled or dnssec; empty means enabled.
	DNSSupportLevel string `postconf:"lmtp_dns_support_level"`
	// FallbackRelay are the next hops tried when all others failed.
	FallbackRelay []string `postconf:"lmtp_fallback_relay"`
	// HeloName is our name in EHLO, HELO or LHLO.
	HeloName string `postconf:"lmtp_lhlo_name"`
	// HeloTimeout limits the wait for the greeting and for each EHLO reply.
	HeloTimeout time.Duration `postconf:"lmtp_lhlo_timeout"`
	// HostLookup are the ways to find host addresses: dns, native.
	HostLookup []string `postconf:"lmtp_host_lookup"`
	// LineLengthLimit is the longest line sent in one piece, 0 for any.
	LineLengthLimit int `postconf:"lmtp_line_length_limit"`
	// LogTLSStatus adds tls= to the delivery line.
	LogTLSStatus bool `postconf:"lmtp_log_tls_feature_status"`
	// MailTimeout limits the wait for the reply to MAIL.
	MailTimeout time.Duration `postconf:"lmtp_mail_timeout"`
	// MXAddressLimit is the number of addresses tried, 0 for any.
	MXAddressLimit int `postconf:"lmtp_mx_address_limit"`
	// MXSessionLimit is the number of sessions tried, 0 for any.
	MXSessionLimit int `postconf:"lmtp_mx_session_limit"`
	// QuitTimeout limits the wait for the reply to QUIT.
	QuitTimeout time.Duration `postconf:"lmtp_quit_timeout"`
	// QuoteEnvelope quotes local parts as RFC 5321 asks.
	QuoteEnvelope bool `postconf:"lmtp_quote_rfc821_envelope"`
	// RandomizeAddresses shuffles mail exchangers of equal preference.
	RandomizeAddresses bool `postconf:"lmtp_randomize_addresses"`
	// RcptTimeout limits the wait for the reply to RCPT.
	RcptTimeout time.Duration `postconf:"lmtp_rcpt_timeout"`
	// RsetTimeout limits the wait for the first reply on a connection used again.
	RsetTimeout time.Duration `postconf:"lmtp_rset_timeout"`
	// SASLEnable logs in to servers for which there is a password.
	SASLEnable bool `postconf:"lmtp_sasl_auth_enable"`
	// SASLPasswordMaps hold user:password by next hop or host.
	SASLPasswordMaps []string `postconf:"lmtp_sasl_password_maps"`
	// SASLDelimiter stands between user and password.
	SASLDelimiter string `postconf:"lmtp_sasl_password_result_delimiter"`
	// SASLSecurityOptions restrict mechanisms on plaintext connections.
	SASLSecurityOptions []string `postconf:"lmtp_sasl_security_options"`
	// SASLTLSSecurityOptions restrict mechanisms on TLS connections.
	SASLTLSSecurityOptions []string `postconf:"lmtp_sasl_tls_security_options"`
	// SASLMechanismFilter are the mechanisms that may be used, empty for any.
	SASLMechanismFilter []string `postconf:"lmtp_sasl_mechanism_filter"`
	// SASLSoftBounce defers mail when the password is refused.
	SASLSoftBounce bool `postconf:"lmtp_sasl_auth_soft_bounce"`
	// SASLSenderDependent looks for the password by sender first.
	SASLSenderDependent bool `postconf:"lmtp_sender_dependent_authentication"`
	// SendDummyMailAuth adds AUTH=<> to MAIL after a login.
	SendDummyMailAuth bool `postconf:"lmtp_send_dummy_mail_auth"`
	// SendXForward tells the server who our client was.
	SendXForward bool `postconf:"lmtp_send_xforward_command"`
	// Skip5xxGreeting treats a 5xx greeting as temporary.
	Skip5xxGreeting bool `postconf:"lmtp_skip_5xx_greeting"`
	// SkipQuitResponse closes without waiting for the reply to QUIT.
	SkipQuitResponse bool `postconf:"lmtp_skip_quit_response"`
	// StartTLSTimeout limits a TLS handshake.
	StartTLSTimeout time.Duration `postconf:"lmtp_starttls_timeout"`
	// TCPPort is the port when the next hop names none.
	TCPPort string `postconf:"lmtp_tcp_port"`
	// TLSLevel is the TLS level without a policy for the next hop.
	TLSLevel string `postconf:"lmtp_tls_security_level"`
	// TLSPolicyMaps hold TLS policies by next hop.
	TLSPolicyMaps []string `postconf:"lmtp_tls_policy_maps"`
	// TLSUse is the older way to say level may.
	TLSUse bool `postconf:"lmtp_use_tls"`
	// TLSEnforce is the older way to say level encrypt or verify.
	TLSEnforce bool `postconf:"lmtp_enforce_tls"`
	// TLSEnforcePeername with TLSEnforce asks for a matching certificate.
	TLSEnforcePeername bool `postconf:"lmtp_tls_enforce_peername"`
	// TLSWrapperMode starts with a TLS handshake (port 465).
	TLSWrapperMode bool `postconf:"lmtp_tls_wrappermode"`
	// TLSConnectionReuse keeps TLS connections, too.
	TLSConnectionReuse bool `postconf:"lmtp_tls_connection_reuse"`
	// TLSBlockEarlyReply refuses a server that talks ahead of the handshake.
	TLSBlockEarlyReply bool `postconf:"lmtp_tls_block_early_mail_reply"`
	// XForwardTimeout limits the wait for the reply to XFORWARD.
	XForwardTimeout time.Duration `postconf:"lmtp_xforward_timeout"`
}
