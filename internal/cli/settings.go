package cli

// Settings are the main.cf parameters that the commands read.
type Settings struct {
	QueueDirectory string `postconf:"queue_directory"`
	MailOwner      string `postconf:"mail_owner"`
	MailName       string `postconf:"mail_name"`
	Myhostname     string `postconf:"myhostname"`
	// EnableLongQueueIDs decides the column widths of mailq.
	EnableLongQueueIDs bool `postconf:"enable_long_queue_ids"`
	// FlushUsers, MailqUsers and SubmitUsers say who may use the commands.
	FlushUsers  []string `postconf:"authorized_flush_users"`
	MailqUsers  []string `postconf:"authorized_mailq_users"`
	SubmitUsers []string `postconf:"authorized_submit_users"`
	// AlternateDirs are configuration directories that a set-gid command may
	// read, MultiDirs those of further instances.
	AlternateDirs []string `postconf:"alternate_config_directories"`
	MultiDirs     []string `postconf:"multi_instance_directories"`
	// Several instances: postmulti and the wrapper that postfix(1) calls.
	MultiName    string   `postconf:"multi_instance_name"`
	MultiGroup   string   `postconf:"multi_instance_group"`
	MultiEnable  bool     `postconf:"multi_instance_enable"`
	MultiWrapper string   `postconf:"multi_instance_wrapper"`
	MultiStart   []string `postconf:"postmulti_start_commands"`
	MultiStop    []string `postconf:"postmulti_stop_commands"`
	MultiControl []string `postconf:"postmulti_control_commands"`
	// ImportEnvironment is what a set-gid command takes from its caller's.
	ImportEnvironment []string `postconf:"import_environment"`
	// Submission with sendmail.
	MessageSizeLimit      int64    `postconf:"message_size_limit"`
	FixLineEndings        string   `postconf:"sendmail_fix_line_endings"`
	DefaultVERPDelimiters string   `postconf:"default_verp_delimiters"`
	VERPDelimiterFilter   string   `postconf:"verp_delimiter_filter"`
	SMTPUTF8Enable        bool     `postconf:"smtputf8_enable"`
	RequireTLSEnable      bool     `postconf:"requiretls_enable"`
	AliasDatabase         []string `postconf:"alias_database"`
	// LocalLoginSenders restricts -f by login name, EmptyAddressLogin names the
	// entry for the null sender.
	LocalLoginSenders []string `postconf:"local_login_sender_maps"`
	EmptyAddressLogin string   `postconf:"empty_address_local_login_sender_maps_lookup_key"`
	// MailboxLock is the style of postlock.
	MailboxLock string `postconf:"mailbox_delivery_lock"`
	// The log of the commands and its rotation.
	MaillogFile            string   `postconf:"maillog_file"`
	MaillogFilePrefixes    []string `postconf:"maillog_file_prefixes"`
	MaillogFilePermissions string   `postconf:"maillog_file_permissions"`
	MaillogRotateSuffix    string   `postconf:"maillog_file_rotate_suffix"`
	MaillogCompressor      string   `postconf:"maillog_file_compressor"`
	SyslogFacility         string   `postconf:"syslog_facility"`
	SyslogName             string   `postconf:"syslog_name"`
}
