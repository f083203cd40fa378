package postscreen

import "time"

// Settings are the main.cf parameters that postscreen(8) reads, but for those of
// TLS.
type Settings struct {
	Hostname    string `postconf:"myhostname"`
	Banner      string `postconf:"smtpd_banner"`
	SyslogName  string `postconf:"syslog_name"`
	SMTPService string `postconf:"smtpd_service_name"`
	// Respectful is what the log calls its lists: ALLOWLISTED or WHITELISTED.
	Respectful  bool     `postconf:"respectful_logging"`
	DelayDigits int      `postconf:"delay_logging_resolution_limit"`
	SoftBounce  bool     `postconf:"soft_bounce"`
	UTF8        bool     `postconf:"smtputf8_enable"`
	Networks    []string `postconf:"mynetworks"`

	UpstreamProxy   string        `postconf:"postscreen_upstream_proxy_protocol"`
	UpstreamTimeout time.Duration `postconf:"postscreen_upstream_proxy_timeout"`
	InetProtocols   []string      `postconf:"inet_protocols"`

	ClientLimit int `postconf:"postscreen_client_connection_count_limit"`
	PreQueue    int `postconf:"postscreen_pre_queue_limit"`
	PostQueue   int `postconf:"postscreen_post_queue_limit"`

	AccessList     []string `postconf:"postscreen_access_list"`
	DenyAction     string   `postconf:"postscreen_denylist_action"`
	AllowInterface []string `postconf:"postscreen_allowlist_interfaces"`

	CacheMap       string        `postconf:"postscreen_cache_map"`
	CacheRetention time.Duration `postconf:"postscreen_cache_retention_time"`
	CacheCleanup   time.Duration `postconf:"postscreen_cache_cleanup_interval"`

	GreetBanner string        `postconf:"postscreen_greet_banner"`
	GreetWait   time.Duration `postconf:"postscreen_greet_wait"`
	GreetAction string        `postconf:"postscreen_greet_action"`
	GreetTTL    time.Duration `postconf:"postscreen_greet_ttl"`

	Sites          []string      `postconf:"postscreen_dnsbl_sites"`
	ReplyMap       string        `postconf:"postscreen_dnsbl_reply_map"`
	DNSBLAction    string        `postconf:"postscreen_dnsbl_action"`
	Threshold      int           `postconf:"postscreen_dnsbl_threshold"`
	AllowThreshold int           `postconf:"postscreen_dnsbl_allowlist_threshold"`
	DNSBLMin       time.Duration `postconf:"postscreen_dnsbl_min_ttl"`
	DNSBLMax       time.Duration `postconf:"postscreen_dnsbl_max_ttl"`
	DNSBLTimeout   time.Duration `postconf:"postscreen_dnsbl_timeout"`
	ReplyDelay     time.Duration `postconf:"dnsblog_reply_delay"`

	Pipelining        bool          `postconf:"postscreen_pipelining_enable"`
	PipeliningAction  string        `postconf:"postscreen_pipelining_action"`
	PipeliningTTL     time.Duration `postconf:"postscreen_pipelining_ttl"`
	NonSMTP           bool          `postconf:"postscreen_non_smtp_command_enable"`
	NonSMTPAction     string        `postconf:"postscreen_non_smtp_command_action"`
	NonSMTPTTL        time.Duration `postconf:"postscreen_non_smtp_command_ttl"`
	BareNewline       bool          `postconf:"postscreen_bare_newline_enable"`
	BareNewlineAction string        `postconf:"postscreen_bare_newline_action"`
	BareNewlineTTL    time.Duration `postconf:"postscreen_bare_newline_ttl"`

	CommandTime   time.Duration `postconf:"postscreen_command_time_limit"`
	CommandCount  int           `postconf:"postscreen_command_count_limit"`
	CommandFilter string        `postconf:"postscreen_command_filter"`
	Forbidden     []string      `postconf:"postscreen_forbidden_commands"`
	LineLimit     int           `postconf:"line_length_limit"`
	MessageLimit  int64         `postconf:"message_size_limit"`
	HeloRequired  bool          `postconf:"postscreen_helo_required"`
	// NoVRFY refuses VRFY, HideVRFY does not offer it.
	NoVRFY      bool     `postconf:"postscreen_disable_vrfy_command"`
	HideVRFY    bool     `postconf:"disable_vrfy_command"`
	DiscardEHLO []string `postconf:"postscreen_discard_ehlo_keywords"`
	DiscardMaps []string `postconf:"postscreen_discard_ehlo_keyword_address_maps"`

	Footer     string   `postconf:"postscreen_reject_footer"`
	FooterMaps []string `postconf:"postscreen_reject_footer_maps"`
	// Filter are the characters that the value of a name in a footer may have.
	Filter string `postconf:"postscreen_expansion_filter"`
}

// TLSSettings are the parameters of TLS before the SMTP server. How much it matters
// is postscreen's to say, the rest is that of tlsproxy(8), which the tlsmgr room
// reads under the names that it has in smtpd.
type TLSSettings struct {
	Level      string `postconf:"postscreen_tls_security_level"`
	UseTLS     bool   `postconf:"postscreen_use_tls"`
	EnforceTLS bool   `postconf:"postscreen_enforce_tls"`
	// Proxy is the service that Postfix wants for it.
	Proxy    string `postconf:"tlsproxy_service_name"`
	LogLevel string `postconf:"tlsproxy_tls_loglevel"`

	ChainFiles         []string `postconf:"tlsproxy_tls_chain_files"`
	CertFile           string   `postconf:"tlsproxy_tls_cert_file"`
	KeyFile            string   `postconf:"tlsproxy_tls_key_file"`
	ECCertFile         string   `postconf:"tlsproxy_tls_eccert_file"`
	ECKeyFile          string   `postconf:"tlsproxy_tls_eckey_file"`
	Protocols          string   `postconf:"tlsproxy_tls_protocols"`
	MandatoryProtocols string   `postconf:"tlsproxy_tls_mandatory_protocols"`
	Ciphers            string   `postconf:"tlsproxy_tls_ciphers"`
	MandatoryCiphers   string   `postconf:"tlsproxy_tls_mandatory_ciphers"`
	Exclude            string   `postconf:"tlsproxy_tls_exclude_ciphers"`
	MandatoryExclude   string   `postconf:"tlsproxy_tls_mandatory_exclude_ciphers"`
	AskCert            bool     `postconf:"tlsproxy_tls_ask_ccert"`
	RequireCert        bool     `postconf:"tlsproxy_tls_req_ccert"`
	CAFile             string   `postconf:"tlsproxy_tls_CAfile"`
	CAPath             string   `postconf:"tlsproxy_tls_CApath"`
	VerifyDepth        int      `postconf:"tlsproxy_tls_ccert_verifydepth"`
	Digest             string   `postconf:"tlsproxy_tls_fingerprint_digest"`
}
