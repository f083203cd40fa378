package smtpd

import "time"

// Settings are the main.cf parameters that smtpd(8) reads, but for those of
// access control, SASL and TLS, which have their own.
type Settings struct {
	Hostname string `postconf:"myhostname"`
	MailName string `postconf:"mail_name"`
	Banner   string `postconf:"smtpd_banner"`
	// SyslogName begins the tag of log lines.
	SyslogName string `postconf:"syslog_name"`

	// Timeout limits the wait for a command, the reading and the writing of
	// one network buffer; StartTLSTimeout a handshake.
	Timeout         time.Duration `postconf:"smtpd_timeout"`
	StartTLSTimeout time.Duration `postconf:"smtpd_starttls_timeout"`
	// RequestDeadline makes Timeout the limit of a whole request, plus the time
	// that its bytes take at MinDataRate.
	RequestDeadline bool `postconf:"smtpd_per_request_deadline"`
	MinDataRate     int  `postconf:"smtpd_min_data_rate"`

	// NotifyClasses are the errors that the postmaster hears of, HistoryFlush how
	// long a transcript becomes before it is given up or sent.
	NotifyClasses []string `postconf:"notify_classes"`
	HistoryFlush  int      `postconf:"smtpd_history_flush_threshold"`

	ErrorSleep     time.Duration `postconf:"smtpd_error_sleep_time"`
	SoftErrorLimit int           `postconf:"smtpd_soft_error_limit"`
	HardErrorLimit int           `postconf:"smtpd_hard_error_limit"`
	JunkLimit      int           `postconf:"smtpd_junk_command_limit"`
	RecipientLimit int           `postconf:"smtpd_recipient_limit"`
	Overshoot      int           `postconf:"smtpd_recipient_overshoot_limit"`
	LineLimit      int           `postconf:"line_length_limit"`
	MessageLimit   int64         `postconf:"message_size_limit"`

	HeloRequired    bool     `postconf:"smtpd_helo_required"`
	DisableVRFY     bool     `postconf:"disable_vrfy_command"`
	StrictEnvelopes bool     `postconf:"strict_rfc821_envelopes"`
	AllowMinUser    bool     `postconf:"allow_min_user"`
	NumericDomain   bool     `postconf:"resolve_numeric_domain"`
	UTF8            bool     `postconf:"smtputf8_enable"`
	RequireTLS      bool     `postconf:"requiretls_enable"`
	RequireTLSField bool     `postconf:"requiretls_esmtp_header"`
	StrictUTF8      bool     `postconf:"strict_smtputf8"`
	Forbidden       []string `postconf:"smtpd_forbidden_commands"`
	Noop            []string `postconf:"smtpd_noop_commands"`
	// ForbidPipelining cuts off clients that talk out of turn.
	ForbidPipelining bool `postconf:"smtpd_forbid_unauth_pipelining"`
	// BareNewline is no, yes, normalize, note or reject.
	BareNewline       string   `postconf:"smtpd_forbid_bare_newline"`
	BareNewlineCode   int      `postconf:"smtpd_forbid_bare_newline_reject_code"`
	BareNewlineExempt []string `postconf:"smtpd_forbid_bare_newline_exclusions"`
	DelayOpen         bool     `postconf:"smtpd_delay_open_until_valid_rcpt"`
	SoftBounce        bool     `postconf:"soft_bounce"`

	// ParentMatches names the lists in which a domain stands for those below it.
	ParentMatches []string `postconf:"parent_domain_matches_subdomains"`
	// DebugPeers are the clients whose dialogue is logged.
	DebugPeers []string `postconf:"debug_peer_list"`
	// CommandFilter may replace commands, RejectFilter refusals; footers come
	// behind refusals, with names whose values have only characters of the
	// expansion filter.
	CommandFilter    string   `postconf:"smtpd_command_filter"`
	RejectFilter     []string `postconf:"smtpd_reject_filter_maps"`
	RejectFooter     string   `postconf:"smtpd_reject_footer"`
	RejectFooterMaps []string `postconf:"smtpd_reject_footer_maps"`
	ExpansionFilter  string   `postconf:"smtpd_expansion_filter"`

	DiscardEHLO     []string `postconf:"smtpd_discard_ehlo_keywords"`
	DiscardEHLOMaps []string `postconf:"smtpd_discard_ehlo_keyword_address_maps"`

	PeernameLookup bool `postconf:"smtpd_peername_lookup"`
	PortLogging    bool `postconf:"smtpd_client_port_logging"`
	// UpstreamProxy is "haproxy" when a proxy says who the client is.
	UpstreamProxy   string        `postconf:"smtpd_upstream_proxy_protocol"`
	UpstreamTimeout time.Duration `postconf:"smtpd_upstream_proxy_timeout"`
	InetProtocols   []string      `postconf:"inet_protocols"`

	// ProxyFilter sees mail before it is queued.
	ProxyFilter  string        `postconf:"smtpd_proxy_filter"`
	ProxyTimeout time.Duration `postconf:"smtpd_proxy_timeout"`
	ProxyEhlo    string        `postconf:"smtpd_proxy_ehlo"`
	ProxyOptions []string      `postconf:"smtpd_proxy_options"`
	QueueDir     string        `postconf:"queue_directory"`

	ConnectionCount int           `postconf:"smtpd_client_connection_count_limit"`
	ConnectionRate  int           `postconf:"smtpd_client_connection_rate_limit"`
	MessageRate     int           `postconf:"smtpd_client_message_rate_limit"`
	RecipientRate   int           `postconf:"smtpd_client_recipient_rate_limit"`
	TLSRate         int           `postconf:"smtpd_client_new_tls_session_rate_limit"`
	AuthRate        int           `postconf:"smtpd_client_auth_rate_limit"`
	RateUnit        time.Duration `postconf:"anvil_rate_time_unit"`
	RateExempt      []string      `postconf:"smtpd_client_event_limit_exceptions"`
	PrefixV4        int           `postconf:"smtpd_client_ipv4_prefix_length"`
	PrefixV6        int           `postconf:"smtpd_client_ipv6_prefix_length"`

	XclientHosts  []string `postconf:"smtpd_authorized_xclient_hosts"`
	XforwardHosts []string `postconf:"smtpd_authorized_xforward_hosts"`
	VERPClients   []string `postconf:"smtpd_authorized_verp_clients"`
	VERPDelims    string   `postconf:"default_verp_delimiters"`
	VERPFilter    string   `postconf:"verp_delimiter_filter"`

	AuthEnable  bool     `postconf:"smtpd_sasl_auth_enable"`
	AuthExempt  []string `postconf:"smtpd_sasl_exceptions_networks"`
	AuthBroken  bool     `postconf:"broken_sasl_auth_clients"`
	AuthLimit   int      `postconf:"smtpd_sasl_response_limit"`
	AuthHeader  bool     `postconf:"smtpd_sasl_authenticated_header"`
	AuthOnlyTLS bool     `postconf:"smtpd_tls_auth_only"`
	// AuthFailures is how often an account may fail within AuthWindow.
	AuthFailures int           `postconf:"postroad_sasl_failure_limit"`
	AuthWindow   time.Duration `postconf:"postroad_sasl_failure_window"`
	TLSHeader    bool          `postconf:"smtpd_tls_received_header"`
	TLSLogLevel  string        `postconf:"smtpd_tls_loglevel"`
	TLSWrapper   bool          `postconf:"smtpd_tls_wrappermode"`
	HideClient   bool          `postconf:"smtpd_hide_client_session"`
	FastFlush    []string      `postconf:"fast_flush_domains"`
	Milters      string        `postconf:"smtpd_milters"`
	MilterMaps   []string      `postconf:"smtpd_milter_maps"`
	Override     []string      `postconf:"receive_override_options"`
	DefaultLimit int           `postconf:"default_process_limit"`
}
