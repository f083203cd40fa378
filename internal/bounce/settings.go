package bounce

// Settings are the main.cf parameters that bounce(8) reads.
type Settings struct {
	// MyHostname signs the reports, MyOrigin completes addresses without domain.
	MyHostname string `postconf:"myhostname"`
	MyOrigin   string `postconf:"myorigin"`
	// MailName is in the names of our own fields: X-Postfix-Queue-ID.
	MailName string `postconf:"mail_name"`
	// SizeLimit is the size from which only the header is returned.
	SizeLimit int `postconf:"bounce_size_limit"`
	// NotifyClasses say what the postmaster hears about: bounce, 2bounce, delay.
	NotifyClasses []string `postconf:"notify_classes"`
	// BounceRecipient, DelayRecipient and DoubleBounceRecipient are where.
	BounceRecipient       string `postconf:"bounce_notice_recipient"`
	DelayRecipient        string `postconf:"delay_notice_recipient"`
	DoubleBounceRecipient string `postconf:"2bounce_notice_recipient"`
	// DoubleBounceSender is the sender of notices to the postmaster.
	DoubleBounceSender string `postconf:"double_bounce_sender"`
	// Threaded makes reports replies to the message.
	Threaded bool `postconf:"enable_threaded_bounces"`
	// Redact keeps reports about mail with REQUIRETLS short and sends them without.
	Redact bool `postconf:"requiretls_redact_dsn"`
	// HeaderFrom is the form of the From header of the built-in templates:
	// standard or obsolete.
	HeaderFrom string `postconf:"header_from_format"`
	// TemplateFile holds what reports say to people.
	TemplateFile string `postconf:"bounce_template_file"`
}
