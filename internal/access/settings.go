package access

import "time"

// Settings are the main.cf parameters of access control in smtpd(8).
type Settings struct {
	// The lists.
	ClientList    []string `postconf:"smtpd_client_restrictions"`
	HeloList      []string `postconf:"smtpd_helo_restrictions"`
	SenderList    []string `postconf:"smtpd_sender_restrictions"`
	RelayList     []string `postconf:"smtpd_relay_restrictions"`
	RecipientList []string `postconf:"smtpd_recipient_restrictions"`
	DataList      []string `postconf:"smtpd_data_restrictions"`
	EndOfDataList []string `postconf:"smtpd_end_of_data_restrictions"`
	ETRNList      []string `postconf:"smtpd_etrn_restrictions"`
	Classes       []string `postconf:"smtpd_restriction_classes"`
	// When they are evaluated.
	DelayReject    bool     `postconf:"smtpd_delay_reject"`
	RelayFirst     bool     `postconf:"smtpd_relay_before_recipient_restrictions"`
	UnlistedRcpt   bool     `postconf:"smtpd_reject_unlisted_recipient"`
	UnlistedSender bool     `postconf:"smtpd_reject_unlisted_sender"`
	Overrides      []string `postconf:"receive_override_options"`
	SoftBounce     bool     `postconf:"soft_bounce"`
	ProxyFilter    string   `postconf:"smtpd_proxy_filter"`
	AllowUntrusted bool     `postconf:"allow_untrusted_routing"`
	NullKey        string   `postconf:"smtpd_null_access_lookup_key"`
	LogPermits     []string `postconf:"smtpd_log_access_permit_actions"`
	SASLEnable     bool     `postconf:"smtpd_sasl_auth_enable"`
	ParentMatches  []string `postconf:"parent_domain_matches_subdomains"`
	ProbeSender    string   `postconf:"address_verify_sender"`
	RewriteClients []string `postconf:"local_header_rewrite_clients"`
	// What they look at.
	Mynetworks  []string `postconf:"mynetworks"`
	LoginMaps   []string `postconf:"smtpd_sender_login_maps"`
	ClientCerts []string `postconf:"relay_clientcerts"`
	// Lists in the DNS, and what the DNS may say at all.
	RBLReplies      []string `postconf:"rbl_reply_maps"`
	RBLReply        string   `postconf:"default_rbl_reply"`
	RBLCode         int      `postconf:"maps_rbl_reject_code"`
	ExpansionFilter string   `postconf:"smtpd_expansion_filter"`
	ReplyFilter     []string `postconf:"smtpd_dns_reply_filter"`
	BackupNetworks  []string `postconf:"permit_mx_backup_networks"`
	Protocols       []string `postconf:"inet_protocols"`
	// Policy servers, and what they are told about the configuration.
	QueueDirectory string        `postconf:"queue_directory"`
	PolicyTimeout  time.Duration `postconf:"smtpd_policy_service_timeout"`
	PolicyIdle     time.Duration `postconf:"smtpd_policy_service_max_idle"`
	PolicyTTL      time.Duration `postconf:"smtpd_policy_service_max_ttl"`
	PolicyRequests int           `postconf:"smtpd_policy_service_request_limit"`
	PolicyTries    int           `postconf:"smtpd_policy_service_try_limit"`
	PolicyRetry    time.Duration `postconf:"smtpd_policy_service_retry_delay"`
	PolicyDefault  string        `postconf:"smtpd_policy_service_default_action"`
	PolicyContext  string        `postconf:"smtpd_policy_service_policy_context"`
	ProcessLimit   int           `postconf:"default_process_limit"`
	SMTPUTF8       bool          `postconf:"smtputf8_enable"`
	Stress         string        `postconf:"stress"`
	CompatLevel    string        `postconf:"compatibility_level"`
	MailVersion    string        `postconf:"mail_version"`
	// The networks that limits count.
	PrefixV4 int `postconf:"smtpd_client_ipv4_prefix_length"`
	PrefixV6 int `postconf:"smtpd_client_ipv6_prefix_length"`
	// Verification of addresses.
	VerifyService   string        `postconf:"address_verify_service_name"`
	PollCount       int           `postconf:"address_verify_poll_count"`
	PollDelay       time.Duration `postconf:"address_verify_poll_delay"`
	ProbeSenderTTL  time.Duration `postconf:"address_verify_sender_ttl"`
	UnvSenderReject int           `postconf:"unverified_sender_reject_code"`
	UnvSenderDefer  int           `postconf:"unverified_sender_defer_code"`
	UnvSenderReason string        `postconf:"unverified_sender_reject_reason"`
	UnvSenderAction string        `postconf:"unverified_sender_tempfail_action"`
	UnvRcptReject   int           `postconf:"unverified_recipient_reject_code"`
	UnvRcptDefer    int           `postconf:"unverified_recipient_defer_code"`
	UnvRcptReason   string        `postconf:"unverified_recipient_reject_reason"`
	UnvRcptAction   string        `postconf:"unverified_recipient_tempfail_action"`
	// What is answered.
	MapRejectCode     int    `postconf:"access_map_reject_code"`
	MapDeferCode      int    `postconf:"access_map_defer_code"`
	RejectCode        int    `postconf:"reject_code"`
	DeferCode         int    `postconf:"defer_code"`
	InvalidHostCode   int    `postconf:"invalid_hostname_reject_code"`
	NonFQDNCode       int    `postconf:"non_fqdn_reject_code"`
	PlaintextCode     int    `postconf:"plaintext_reject_code"`
	MultiRcptCode     int    `postconf:"multi_recipient_bounce_reject_code"`
	RelayCode         int    `postconf:"relay_domains_reject_code"`
	UnknownClientCode int    `postconf:"unknown_client_reject_code"`
	UnknownHostCode   int    `postconf:"unknown_hostname_reject_code"`
	UnknownAddrCode   int    `postconf:"unknown_address_reject_code"`
	UnknownHostAct    string `postconf:"unknown_helo_hostname_tempfail_action"`
	UnknownAddrAct    string `postconf:"unknown_address_tempfail_action"`
}
