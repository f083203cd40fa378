package milter

import "time"

// Settings are the main.cf parameters about filters that smtpd(8) and cleanup(8)
// share. Lists of macros are plain text: braces in them need not be balanced.
type Settings struct {
	ConnectTimeout time.Duration `postconf:"milter_connect_timeout"`
	CommandTimeout time.Duration `postconf:"milter_command_timeout"`
	ContentTimeout time.Duration `postconf:"milter_content_timeout"`
	Protocol       string        `postconf:"milter_protocol"`
	DefaultAction  string        `postconf:"milter_default_action"`

	ConnectMacros     string `postconf:"milter_connect_macros"`
	HeloMacros        string `postconf:"milter_helo_macros"`
	MailMacros        string `postconf:"milter_mail_macros"`
	RcptMacros        string `postconf:"milter_rcpt_macros"`
	DataMacros        string `postconf:"milter_data_macros"`
	EndOfHeaderMacros string `postconf:"milter_end_of_header_macros"`
	EndOfDataMacros   string `postconf:"milter_end_of_data_macros"`
	UnknownMacros     string `postconf:"milter_unknown_command_macros"`

	// DaemonName and Version are the values of {daemon_name} and v, Defaults
	// those of macros that have none.
	DaemonName string   `postconf:"milter_macro_daemon_name"`
	Version    string   `postconf:"milter_macro_v"`
	Defaults   []string `postconf:"milter_macro_defaults"`

	SoftBounce bool   `postconf:"soft_bounce"`
	QueueDir   string `postconf:"queue_directory"`
}
