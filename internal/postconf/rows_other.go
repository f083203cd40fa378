package postconf

// rowsLegacy are former names that are still read: the default of the present name
// refers to them. They have no value of their own.
var rowsLegacy = []Param{
	{"authorized_verp_clients", "", String, 0, 0, 0, Planned, ""},
	{"fallback_relay", "", String, 0, 0, 0, Planned, ""},
	{"lmtp_per_record_deadline", "", Bool, 0, 0, 0, Planned, ""},
	{"postscreen_blacklist_action", "", String, 0, 0, 0, Planned, ""},
	{"postscreen_dnsbl_ttl", "", Time, 'h', 0, 0, Planned, ""},
	{"postscreen_dnsbl_whitelist_threshold", "", Int, 0, 0, 0, Planned, ""},
	{"postscreen_whitelist_interfaces", "", String, 0, 0, 0, Planned, ""},
	{"smtp_per_record_deadline", "", Bool, 0, 0, 0, Planned, ""},
	{"smtpd_client_connection_limit_exceptions", "", String, 0, 0, 0, Planned, ""},
	{"smtpd_per_record_deadline", "", Bool, 0, 0, 0, Planned, ""},
	{"tlsproxy_client_level", "", String, 0, 0, 0, Different, oneProcess},
	{"tlsproxy_client_policy", "", String, 0, 0, 0, Different, oneProcess},
	{"virtual_maps", "", String, 0, 0, 0, Planned, ""},
}

// rowsLater are parameters of the release after the one that we follow. They are
// known, so that nobody is told that they are misspelt, but have no effect and are
// not listed.
var rowsLater = []Param{
	{"lmtp_tls_loglevel_maps", "", String, 0, 0, 0, Planned, ""},
	{"lmtp_tls_trace_size_limit", "102400", Long, 0, 0, 0, Planned, ""},
	{"postscreen_starttls_timeout", "$smtpd_starttls_timeout", Time, 's', 0, 0, Planned, ""},
	{"postscreen_tls_CAfile", "$smtpd_tls_CAfile", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_CApath", "$smtpd_tls_CApath", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_always_issue_session_ids", "$smtpd_tls_always_issue_session_ids", Bool, 0, 0, 0, Planned, ""},
	{"postscreen_tls_ask_ccert", "$smtpd_tls_ask_ccert", Bool, 0, 0, 0, Planned, ""},
	{"postscreen_tls_ccert_verifydepth", "$smtpd_tls_ccert_verifydepth", Int, 0, 0, 0, Planned, ""},
	{"postscreen_tls_cert_file", "$smtpd_tls_cert_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_chain_files", "$smtpd_tls_chain_files", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_ciphers", "$smtpd_tls_ciphers", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_dcert_file", "$smtpd_tls_dcert_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_dh1024_param_file", "$smtpd_tls_dh1024_param_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_dh512_param_file", "$smtpd_tls_dh512_param_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_dkey_file", "$smtpd_tls_dkey_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_eccert_file", "$smtpd_tls_eccert_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_eckey_file", "$smtpd_tls_eckey_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_eecdh_grade", "$smtpd_tls_eecdh_grade", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_enable_rpk", "$smtpd_tls_enable_rpk", Bool, 0, 0, 0, Planned, ""},
	{"postscreen_tls_exclude_ciphers", "$smtpd_tls_exclude_ciphers", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_fingerprint_digest", "$smtpd_tls_fingerprint_digest", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_key_file", "$smtpd_tls_key_file", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_loglevel", "$smtpd_tls_loglevel", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_loglevel_maps", "$smtpd_tls_loglevel_maps", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_mandatory_ciphers", "$smtpd_tls_mandatory_ciphers", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_mandatory_exclude_ciphers", "$smtpd_tls_mandatory_exclude_ciphers", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_mandatory_protocols", "$smtpd_tls_mandatory_protocols", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_protocols", "$smtpd_tls_protocols", String, 0, 0, 0, Planned, ""},
	{"postscreen_tls_req_ccert", "$smtpd_tls_req_ccert", Bool, 0, 0, 0, Planned, ""},
	{"postscreen_tls_trace_size_limit", "$smtpd_tls_trace_size_limit", Long, 0, 0, 0, Planned, ""},
	{"smtp_tls_loglevel_maps", "", String, 0, 0, 0, Planned, ""},
	{"smtp_tls_trace_size_limit", "102400", Long, 0, 0, 0, Planned, ""},
	{"smtpd_tls_loglevel_maps", "", String, 0, 0, 0, Planned, ""},
	{"smtpd_tls_trace_size_limit", "102400", Long, 0, 0, 0, Planned, ""},
	{"socketmap_max_query_size", "10000", Long, 0, 0, 0, Planned, ""},
	{"tls_trace_rate_limit", "1", Int, 0, 0, 0, Planned, ""},
	{"tls_trust_server_ccerts", "no", Bool, 0, 0, 0, Planned, ""},
}

// rowsSuffix are the parameters that are formed from the name of a service and
// one of these endings. The longest ending that fits counts, so it comes first.
var rowsSuffix = []Param{
	{"_destination_concurrency_failed_cohort_limit", "$default_destination_concurrency_failed_cohort_limit", Int, 0, 0, 0, Planned, ""},
	{"_destination_concurrency_positive_feedback", "$default_destination_concurrency_positive_feedback", String, 0, 0, 0, Planned, ""},
	{"_destination_concurrency_negative_feedback", "$default_destination_concurrency_negative_feedback", String, 0, 0, 0, Planned, ""},
	{"_initial_destination_concurrency", "$initial_destination_concurrency", Int, 0, 1, 0, Planned, ""},
	{"_destination_concurrency_limit", "$default_destination_concurrency_limit", Int, 0, 0, 0, Planned, ""},
	{"_destination_recipient_limit", "$default_destination_recipient_limit", Int, 0, 0, 0, Planned, ""},
	{"_destination_rate_delay", "$default_destination_rate_delay", Time, 's', 0, 0, Planned, ""},
	{"_delivery_slot_discount", "$default_delivery_slot_discount", Int, 0, 0, 0, Different, ownTurns},
	{"_minimum_delivery_slots", "$default_minimum_delivery_slots", Int, 0, 0, 0, Different, ownTurns},
	{"_recipient_refill_limit", "$default_recipient_refill_limit", Int, 0, 0, 0, Different, ownActive},
	{"_recipient_refill_delay", "$default_recipient_refill_delay", Time, 's', 0, 0, Different, ownActive},
	{"_extra_recipient_limit", "$default_extra_recipient_limit", Int, 0, 0, 0, Different, ownActive},
	{"_transport_rate_delay", "$default_transport_rate_delay", Time, 's', 0, 0, Planned, ""},
	{"_delivery_slot_cost", "$default_delivery_slot_cost", Int, 0, 0, 0, Different, ownTurns},
	{"_delivery_slot_loan", "$default_delivery_slot_loan", Int, 0, 0, 0, Different, ownTurns},
	{"_recipient_limit", "$default_recipient_limit", Int, 0, 0, 0, Different, ownActive},
	{"_time_limit", "$command_time_limit", Time, 's', 0, 0, Planned, ""},
}
