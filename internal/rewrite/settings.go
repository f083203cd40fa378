package rewrite

// Settings are the main.cf parameters that trivial-rewrite(8) reads, and those
// by which smtpd(8) knows recipients.
type Settings struct {
	// Names of this system.
	Myhostname  string   `postconf:"myhostname"`
	Mydomain    string   `postconf:"mydomain"`
	Myorigin    string   `postconf:"myorigin"`
	Destination []string `postconf:"mydestination"`
	// Interfaces are the addresses on which mail arrives, ProxyInterfaces those
	// of a translator before us, Protocols limits "all".
	Interfaces      []string `postconf:"inet_interfaces"`
	ProxyInterfaces []string `postconf:"proxy_interfaces"`
	Protocols       []string `postconf:"inet_protocols"`
	// Rewriting.
	SwapBangpath         bool   `postconf:"swap_bangpath"`
	AllowPercentHack     bool   `postconf:"allow_percent_hack"`
	AppendAtMyorigin     bool   `postconf:"append_at_myorigin"`
	AppendDotMydomain    bool   `postconf:"append_dot_mydomain"`
	RemoteRewriteDomain  string `postconf:"remote_header_rewrite_domain"`
	RecipientDelimiter   string `postconf:"recipient_delimiter"`
	OwnerRequestSpecial  bool   `postconf:"owner_request_special"`
	DoubleBounceSender   string `postconf:"double_bounce_sender"`
	EmptyAddressReceiver string `postconf:"empty_address_recipient"`
	SMTPUTF8             bool   `postconf:"smtputf8_enable"`
	// Resolving.
	ResolveDequoted    bool `postconf:"resolve_dequoted_address"`
	ResolveNullDomain  bool `postconf:"resolve_null_domain"`
	ResolveNumeric     bool `postconf:"resolve_numeric_domain"`
	AllowMinUser       bool `postconf:"allow_min_user"`
	AllowUntrusted     bool `postconf:"allow_untrusted_routing"`
	HelpfulWarnings    bool `postconf:"helpful_warnings"`
	ShowTableName      bool `postconf:"show_user_unknown_table_name"`
	RelocatedPrefix    bool `postconf:"relocated_prefix_enable"`
	UnknownLocalCode   int  `postconf:"unknown_local_recipient_reject_code"`
	UnknownAliasCode   int  `postconf:"unknown_virtual_alias_reject_code"`
	UnknownMailboxCode int  `postconf:"unknown_virtual_mailbox_reject_code"`
	UnknownRelayCode   int  `postconf:"unknown_relay_recipient_reject_code"`
	// Classes and where they go.
	ParentMatches       []string `postconf:"parent_domain_matches_subdomains"`
	VirtualAliasDomains []string `postconf:"virtual_alias_domains"`
	VirtualMailDomains  []string `postconf:"virtual_mailbox_domains"`
	RelayDomains        []string `postconf:"relay_domains"`
	LocalTransport      string   `postconf:"local_transport"`
	VirtualTransport    string   `postconf:"virtual_transport"`
	RelayTransport      string   `postconf:"relay_transport"`
	DefaultTransport    string   `postconf:"default_transport"`
	Relayhost           string   `postconf:"relayhost"`
	NullRelayKey        string   `postconf:"empty_address_relayhost_maps_lookup_key"`
	NullTransportKey    string   `postconf:"empty_address_default_transport_maps_lookup_key"`
	SenderRelayMaps     []string `postconf:"sender_dependent_relayhost_maps"`
	SenderTransportMaps []string `postconf:"sender_dependent_default_transport_maps"`
	TransportMaps       []string `postconf:"transport_maps"`
	RelocatedMaps       []string `postconf:"relocated_maps"`
	// Where probes of address verification go instead.
	ProbeLocalTransport   string   `postconf:"address_verify_local_transport"`
	ProbeVirtualTransport string   `postconf:"address_verify_virtual_transport"`
	ProbeRelayTransport   string   `postconf:"address_verify_relay_transport"`
	ProbeDefaultTransport string   `postconf:"address_verify_default_transport"`
	ProbeRelayhost        string   `postconf:"address_verify_relayhost"`
	ProbeSenderRelay      []string `postconf:"address_verify_sender_dependent_relayhost_maps"`
	ProbeSenderTransport  []string `postconf:"address_verify_sender_dependent_default_transport_maps"`
	ProbeTransportMaps    []string `postconf:"address_verify_transport_maps"`
	// Who exists.
	LocalRecipientMaps     []string `postconf:"local_recipient_maps"`
	RelayRecipientMaps     []string `postconf:"relay_recipient_maps"`
	VirtualMailboxMaps     []string `postconf:"virtual_mailbox_maps"`
	VirtualAliasMaps       []string `postconf:"virtual_alias_maps"`
	CanonicalMaps          []string `postconf:"canonical_maps"`
	SenderCanonicalMaps    []string `postconf:"sender_canonical_maps"`
	RecipientCanonicalMaps []string `postconf:"recipient_canonical_maps"`
}
