package cleanup

// Settings are the main.cf parameters that cleanup(8) and pickup(8) read.
type Settings struct {
	// Names and limits.
	Myhostname     string `postconf:"myhostname"`
	MailName       string `postconf:"mail_name"`
	LongIDs        bool   `postconf:"enable_long_queue_ids"`
	MessageSize    int64  `postconf:"message_size_limit"`
	HeaderSize     int    `postconf:"header_size_limit"`
	LineLength     int    `postconf:"line_length_limit"`
	Hopcount       int    `postconf:"hopcount_limit"`
	DupLimit       int    `postconf:"duplicate_filter_limit"`
	BoundaryLength int    `postconf:"mime_boundary_length_limit"`
	Nesting        int    `postconf:"mime_nesting_limit"`
	// Header.
	AlwaysAdd       bool     `postconf:"always_add_missing_headers"`
	Undisclosed     string   `postconf:"undisclosed_recipients_header"`
	DropHeaders     []string `postconf:"message_drop_headers"`
	HeaderFrom      string   `postconf:"header_from_format"`
	RemoteDomain    string   `postconf:"remote_header_rewrite_domain"`
	ReplaceStray    bool     `postconf:"cleanup_replace_stray_cr_lf"`
	StripCharacters string   `postconf:"message_strip_characters"`
	RejectChars     string   `postconf:"message_reject_characters"`
	Detect8Bit      bool     `postconf:"detect_8bit_encoding_header"`
	// Checks.
	HeaderChecks  []string `postconf:"header_checks"`
	MIMEChecks    []string `postconf:"mime_header_checks"`
	NestedChecks  []string `postconf:"nested_header_checks"`
	BodyChecks    []string `postconf:"body_checks"`
	BodyCheckSize int64    `postconf:"body_checks_size_limit"`
	NoMIME        bool     `postconf:"disable_mime_input_processing"`
	Strict7Bit    bool     `postconf:"strict_7bit_headers"`
	Strict8Bit    bool     `postconf:"strict_8bitmime"`
	StrictBody    bool     `postconf:"strict_8bitmime_body"`
	StrictDomain  bool     `postconf:"strict_mime_encoding_domain"`
	// Addresses.
	CanonicalMaps      []string `postconf:"canonical_maps"`
	CanonicalClasses   []string `postconf:"canonical_classes"`
	SenderCanonical    []string `postconf:"sender_canonical_maps"`
	SenderClasses      []string `postconf:"sender_canonical_classes"`
	RecipientCanonical []string `postconf:"recipient_canonical_maps"`
	RecipientClasses   []string `postconf:"recipient_canonical_classes"`
	MasqDomains        []string `postconf:"masquerade_domains"`
	MasqClasses        []string `postconf:"masquerade_classes"`
	MasqExceptions     []string `postconf:"masquerade_exceptions"`
	Propagate          []string `postconf:"propagate_unmatched_extensions"`
	VirtualMaps        []string `postconf:"virtual_alias_maps"`
	VirtualExpansion   int      `postconf:"virtual_alias_expansion_limit"`
	VirtualRecursion   int      `postconf:"virtual_alias_recursion_limit"`
	VirtualLength      int      `postconf:"virtual_alias_address_length_limit"`
	AlwaysBcc          string   `postconf:"always_bcc"`
	SenderBcc          []string `postconf:"sender_bcc_maps"`
	RecipientBcc       []string `postconf:"recipient_bcc_maps"`
	EmptyRecipient     string   `postconf:"empty_address_recipient"`
	OriginalRcpt       bool     `postconf:"enable_original_recipient"`
	// TLS that a sender asks for or waives.
	RequireTLS       bool `postconf:"requiretls_enable"`
	RequireTLSHeader bool `postconf:"requiretls_esmtp_header"`
	TLSOptional      bool `postconf:"tls_required_enable"`
	// SMTPUTF8.
	SMTPUTF8   bool     `postconf:"smtputf8_enable"`
	Autodetect []string `postconf:"smtputf8_autodetect_classes"`
	// Mail filters.
	Milters         string   `postconf:"non_smtpd_milters"`
	MilterChecks    []string `postconf:"milter_header_checks"`
	InternalClasses []string `postconf:"internal_mail_filter_classes"`
	InetProtocols   []string `postconf:"inet_protocols"`
	// Pickup.
	QueueDir      string   `postconf:"queue_directory"`
	ContentFilter string   `postconf:"content_filter"`
	Override      []string `postconf:"receive_override_options"`
}
